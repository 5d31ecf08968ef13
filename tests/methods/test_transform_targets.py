"""`transform` with LPQLD's targets: what LPQLD makes of the same labels."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import reloaded

from benchmark.core.errors import UserError
from benchmark.labels import view_kernel
from benchmark.labels.contract import method
from benchmark.methods.transform import TransformCoder
from benchmark.methods.transform.options import Options

BATCHES = 4


@pytest.fixture(autouse=True)
def few_views(monkeypatch):
    """Features are centred and turned by few views, which is quick."""
    monkeypatch.setattr(view_kernel, "VIEWS", 100)
    monkeypatch.setattr(view_kernel, "FEATURES", 50)


def coded(task, tmp_path, **options):
    """Labels to a hundredth of their size, so that few of them change places."""
    settled = TransformCoder.resolve_options(
        Options(batches=BATCHES, step=0.01, rounding=0.5, **options), task.shape, None
    )
    return reloaded(TransformCoder.fit(task, settled), tmp_path / "coded")


def pruned(task, tmp_path, **options) -> Any:
    """LPQLD's own, of the same batches."""
    lpqld = method("lpqld")
    asked = lpqld.Options(**{"quantise": "none", "schedule": "none", **options})
    asked = replace(asked, batches=BATCHES)
    settled = lpqld.resolve_options(asked, task.shape, None)
    return reloaded(lpqld.fit(task, settled), tmp_path / "pruned")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"k": 3}, {"quantise": "mr", "k": 3, "calibrate": False}),
        ({"schedule": "step"}, {"schedule": "step", "calibrate": False}),
        ({"calibrate": True}, {"calibrate": True}),
        (
            {"k": 3, "schedule": "cosine", "calibrate": True},
            {"quantise": "mr", "k": 3, "schedule": "cosine", "calibrate": True},
        ),
    ],
    ids=["few logits", "falling temperature", "alignment", "all three"],
)
def test_targets_and_losses_are_lpqlds(task, tmp_path, ours, theirs):
    first, second = coded(task, tmp_path, **ours), pruned(task, tmp_path, **theirs)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(task.plan.epochs):
        for position in range(BATCHES):
            views = first.coded.pool.batch(position)
            images = torch.empty(0)
            given = first.targets(views, images, epoch)
            exact = second.targets(second.stored.batch(position), images, epoch)
            assert torch.allclose(first.probabilities(given), exact, atol=0.02)
            student = torch.randn(exact.shape, generator=generator)
            losses = [
                source.loss(student, targets, views, epoch)
                for source, targets in ((first, given), (second, exact))
            ]
            assert losses[0].item() == pytest.approx(losses[1].item(), rel=0.05, abs=0.01)


def test_a_target_takes_no_bytes(task, tmp_path):
    plain = coded(task, tmp_path).storage()
    (tmp_path / "coded").rename(tmp_path / "plain")
    target = coded(task, tmp_path, k=2, schedule="step").storage()
    assert target.total - target.container == plain.total - plain.container


def test_what_has_no_divergence_has_no_such_target(task):
    squared = replace(task, objective=replace(task.objective, loss="mse"))
    with pytest.raises(UserError, match="loss is a divergence"):
        TransformCoder.fit(squared, Options(batches=1, schedule="step"))
    with pytest.raises(UserError, match=r"transform\.k is 11, but there are 10 classes"):
        TransformCoder.resolve_options(Options(k=11), task.shape, None)
