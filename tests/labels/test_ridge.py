"""Ridge regression: of a design in memory, and the same of one on disk."""

import pytest
import torch

from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan
from benchmark.labels import ridge, scratch
from benchmark.labels.ridge import Design, fit
from benchmark.labels.view_function import ViewBasis, ViewFunction

PLAN = ViewPlan(0, 6, 8, 3, 20, Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0)))


@pytest.fixture
def on_disk(monkeypatch):
    """Nothing is small, and a chunk holds a few rows."""
    monkeypatch.setattr(scratch, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(scratch, "CHUNK_BYTES", 8 * 41)


def design(folder, plan=PLAN) -> Design:
    function = ViewFunction(ViewBasis.of(plan.augmentation), torch.arange(6) % 3, 3)
    views = (views for epoch in range(10) for views in plan.epoch(epoch))
    return function.stored_design(views, 60, folder)


def dense(made: Design) -> torch.Tensor:
    whole = torch.zeros(len(made.columns), made.size, dtype=torch.float64)
    return whole.scatter_(1, made.columns.long(), made.values)


def products(made: Design, labels, coefficients):
    """The matrix times coefficients, its transpose times labels, and the scale."""
    shown, turned = torch.zeros_like(labels), torch.zeros_like(coefficients)
    made.write_times(coefficients, shown)
    made.write_transposed(labels, turned)
    return shown, turned, made.scale


def test_a_design_that_is_stored_is_that_of_its_views(tmp_path):
    function = ViewFunction(ViewBasis.of(PLAN.augmentation), torch.arange(6) % 3, 3)
    whole = function.design([v for epoch in range(10) for v in PLAN.epoch(epoch)])
    made = design(tmp_path)
    assert made.columns.equal(whole.columns.int())
    assert made.values.equal(whole.values)
    assert made.entities == whole.entities


def test_products_are_those_of_the_matrix_written_out(tmp_path):
    torch.manual_seed(0)
    made = design(tmp_path)
    labels = torch.randn(60, 2, dtype=torch.float64)
    coefficients = torch.randn(made.size, 2, dtype=torch.float64)
    shown, turned, scale = products(made, labels, coefficients)
    torch.testing.assert_close(shown, dense(made) @ coefficients)
    torch.testing.assert_close(made.times(coefficients), shown)
    torch.testing.assert_close(turned, dense(made).T @ labels)
    torch.testing.assert_close(scale[:, 0], dense(made).square().sum(0) + ridge.NOISE)


def test_products_in_chunks_are_the_same_to_the_bit(tmp_path, request):
    torch.manual_seed(0)
    labels = torch.randn(60, 2, dtype=torch.float64)
    whole = design(tmp_path)
    coefficients = torch.randn(whole.size, 2, dtype=torch.float64)
    expected = products(whole, labels, coefficients)
    request.getfixturevalue("on_disk")
    made = design(tmp_path)
    assert len(list(made._runs(2))) > 10
    found = products(made, labels, coefficients)
    assert all(a.equal(b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("at_once", [ridge.SOLVED_BYTES, 1])
def test_the_fit_is_the_ridge_regression(at_once, monkeypatch, tmp_path):
    monkeypatch.setattr(ridge, "SOLVED_BYTES", at_once)
    torch.manual_seed(0)
    made = design(tmp_path)
    labels = torch.randn(60, 2, dtype=torch.float64)
    normal = dense(made).T @ dense(made) + ridge.NOISE * torch.eye(made.size, dtype=torch.float64)
    exact = torch.linalg.solve(normal, dense(made).T @ labels)
    found = made.times(fit(made, labels))
    torch.testing.assert_close(found, dense(made) @ exact, rtol=0, atol=2e-3)


@pytest.mark.parametrize("at_once", [ridge.SOLVED_BYTES, 1])
def test_a_fit_on_disk_in_chunks_is_the_same_to_the_bit(at_once, monkeypatch, tmp_path, request):
    """Conjugate gradients make much of the last digits: sums are made in one go."""
    monkeypatch.setattr(ridge, "SOLVED_BYTES", at_once)
    torch.manual_seed(0)
    labels = torch.randn(60, 3, dtype=torch.float64)
    expected = fit(design(tmp_path), labels)
    request.getfixturevalue("on_disk")
    found = fit(design(tmp_path), labels)
    assert found.equal(expected)
    assert list(tmp_path.iterdir()) == []
