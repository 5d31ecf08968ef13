import math
import re
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import reloaded, tiny_task

from benchmark.core.errors import UserError
from benchmark.labels.image_labels import ImageLabels, LabelForm, decode, encode, label_bytes
from benchmark.labels.packing import unpack
from benchmark.labels.task import TaskShape

FORMS = get_args(LabelForm)


class Given(ImageLabels):
    """Labels that a test gives."""

    @classmethod
    def fit(cls, task, options):
        return cls(task, options, soft())


@pytest.fixture
def task(tmp_path):
    return tiny_task(tmp_path / "scratch")


def soft(images=20, classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(images, classes, generator=generator)).softmax(1)


def test_numbers_by_hand():
    labels = torch.tensor([[0.1, 0.2, 0.4, 0.3], [1.0, 0.0, 0.0, 0.0]])
    assert encode(labels, "fp16", 5)["values"].tolist() == [[0.25, 0.5, 1, 0.75], [1, 0, 0, 0]]
    assert encode(labels, "int8", 5)["values"].tolist() == [[64, 128, 255, 191], [255, 0, 0, 0]]
    kept = encode(labels[:1], "top-k", 3)
    assert kept["values"].tolist() == [[255, 191, 128]]
    # Classes 2, 3, 1 in two bits each, the first lowest.
    assert kept["indices"].tolist() == [2 + 3 * 4 + 1 * 16]
    expected = torch.tensor([[0, 128, 255, 191]]) / (128 + 255 + 191)
    assert decode(kept, 4).allclose(expected, atol=1e-7)


@st.composite
def tables(draw):
    """Probabilities (N, C), from even to one-hot."""
    classes, images = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    share = st.floats(0, 1, width=32, allow_subnormal=False)
    row = st.lists(share, min_size=classes, max_size=classes).filter(lambda r: max(r) > 1e-3)
    rows = torch.tensor(draw(st.lists(row, min_size=images, max_size=images)))
    return rows / rows.sum(1, keepdim=True)


@given(tables(), st.sampled_from(FORMS), st.integers(1, 14))
def test_forms_there_and_back(labels, form, k):
    parts = encode(labels, form, k)
    found = decode(parts, labels.shape[1])
    assert found.dtype == torch.float32
    assert found.sum(1).allclose(torch.ones(len(labels)), atol=1e-6)
    shares, back = (rows / rows.amax(1, keepdim=True) for rows in (labels, found))
    if form == "top-k":
        kept = back > 0
        assert (kept.sum(1) <= k).all()
        least = shares.topk(min(k, labels.shape[1]), 1).values[:, -1:]
        assert (shares[kept] >= least.expand_as(shares)[kept]).all()
        assert (shares[~kept] <= least.expand_as(shares)[~kept].clamp_min(0.5 / 255)).all()
        shares = shares * kept
    off = 2**-11 * shares + 2**-24 if form == "fp16" else torch.tensor(0.502 / 255)
    assert ((shares - back).abs() <= off + 1e-6 * shares).all()
    # Once more changes nothing, to the bit.
    assert decode(encode(found, form, k), labels.shape[1]).equal(found)
    if form != "top-k":
        assert encode(found, form, k)["values"].equal(parts["values"])


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("form", FORMS)
def test_bytes_are_those_of_the_formula(classes, form):
    parts = encode(soft(7, classes), form, 5)
    found = sum(part.numel() * part.dtype.itemsize for part in parts.values())
    k = min(5, classes)
    width = {2: 1, 10: 4, 1000: 10}[classes]
    by_hand = {
        "fp16": 14 * classes,
        "int8": 7 * classes,
        "top-k": 7 * k + math.ceil(7 * k * width / 8),
    }
    assert found == by_hand[form] == label_bytes(7, classes, form, 5)
    if form == "top-k":
        indices = unpack(parts["indices"], width, 0, 7 * k).view(7, k)
        assert indices[:, 0].equal(soft(7, classes).argmax(1))


@pytest.mark.parametrize("form", FORMS)
def test_a_student_gets_what_was_made(task, form, tmp_path):
    source = Given(task, Given.Options(form, 3), soft())
    loaded = reloaded(source, tmp_path / "saved")
    assert loaded.labels.equal(source.labels)
    assert (source.labels - soft()).abs().max() < (0.35 if form == "top-k" else 0.005)
    for views in task.plan.epoch(1):
        targets = loaded.targets(views, torch.empty(0), 1)
        assert targets.equal(source.targets(views, torch.empty(0), 1))
        own, weight = source.labels[views.index], views.mix_weight[:, None]
        assert targets.allclose(weight * own + (1 - weight) * own[views.partner])
        assert targets.sum(1).allclose(torch.ones(len(views)))
    ledger = loaded.storage()
    assert ledger.views == ledger.weights == 0
    values = {"fp16": 400, "int8": 200, "top-k": 60}[form]
    assert (ledger.values, ledger.indices) == (values, 30 if form == "top-k" else 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "the label of image 13 is not finite"),
        (math.inf, "the label of image 13 is not finite"),
        (-0.1, "the label of image 13 is negative for some class"),
        (0.0, "the label of image 13 is zero for every class"),
    ],
)
def test_labels_that_cannot_be(task, value, message):
    labels = soft()
    labels[13] = value
    with pytest.raises(UserError, match=message):
        Given(task, Given.Options(), labels)


def test_k_is_at_least_one_and_at_most_all_classes():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        Given.Options("top-k", 0)
    shape = TaskShape(classes=3, images=6, batches=1, epochs=1, resolution=8)
    assert Given.resolve_options(Given.Options("top-k", 5), shape, None) == Given.Options(
        "top-k", 3
    )
    assert Given.resolve_options(Given.Options("int8", 2), shape, None) == Given.Options("int8", 2)


@pytest.mark.parametrize("images", [20, 500])
def test_a_budget_buys_the_richest_form_and_is_kept(tmp_path, images):
    task = tiny_task(tmp_path / "scratch", images=images)
    shape, seen = task.shape, set()
    with pytest.raises(UserError, match="the least it can take is") as refused:
        Given.resolve_options(Given.Options(), shape, 100)
    found = re.search(r"least it can take is ([\d,]+),", str(refused.value))
    assert found
    least = int(found[1].replace(",", ""))
    with pytest.raises(UserError, match=f"{images} labels of one class each"):
        Given.resolve_options(Given.Options(), shape, least - 1)
    step = max(1, images // 4)
    for budget in range(least, least + images * 20 + step, step):
        options = Given.resolve_options(Given.Options("int8", 2), shape, budget)
        if options not in seen:  # nearly the tightest budget of each
            assert Given(task, options, soft(images)).storage().total <= budget
        seen.add(options)
    ks = {options.k for options in seen if options.form == "top-k"}
    assert ks == set(range(1, max(ks) + 1))
    # Seven classes as bytes and 4-bit indices take 10.5 bytes, all ten as bytes 10.
    assert max(ks) == 6
    assert {options.form for options in seen} == set(FORMS)


def test_budgets_for_many_images_and_classes(tmp_path):
    shape = tiny_task(tmp_path / "scratch").shape
    many = replace(shape, images=50_000, classes=1000)
    assert Given.resolve_options(Given.Options(), many, 10**9).form == "fp16"
    assert Given.resolve_options(Given.Options(), many, 51 * 10**6).form == "int8"
    chosen = Given.resolve_options(Given.Options(), many, 10**6)
    assert chosen == Given.Options("top-k", 8)  # 18 bits a class kept, 20 bytes an image
