"""INFER's static labels by hand: interpolated logits, in each form, under the recipe's loss."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import reloaded, tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.labels.contract import divergence
from benchmark.methods.infer import Infer


def settled(shape, budget=None, **options):
    return Infer.resolve_options(Infer.Options(**options), shape, budget)


def fitted(task, **options):
    return Infer.fit(task, settled(task.shape, **options))


def centred(logits):
    return logits - logits.mean(1, keepdim=True)


@pytest.mark.parametrize(("form", "gap"), [("fp16", 0.02), ("int8", 0.2)])
def test_targets_are_interpolated_logits_of_plain_images(task, tmp_path, form, gap):
    source = reloaded(fitted(task, form=form), tmp_path / "saved")
    logits = task.teacher(task.images.pixels.float() / 255)
    assert logits.std() > 1  # or nearness would say little
    for epoch in range(4):
        for views in source.views(epoch):
            weight, own = views.mix_weight[:, None], logits[views.index]
            expected = centred(weight * own + (1 - weight) * own[views.partner])
            targets = source.targets(views, torch.empty(0), epoch)
            assert (targets - expected).abs().max() < gap


def test_a_mix_by_hand(task):
    labels = torch.full((20, 10), 0.1)
    labels[0, :2] = torch.tensor([0.16, 0.04])
    source = Infer(
        replace(task, objective=replace(task.objective, temperature=2.0)),
        settled(task.shape),
        labels,
    )
    views = replace(
        task.plan.batch(0, 0),
        index=torch.tensor([0, 1]),
        partner=torch.tensor([1, 0]),
        mix_box=torch.tensor([[0.0, 0.0, 0.5, 1.0]] * 2),
        mix_opacity=torch.ones(2),
    )
    # Half of 2 log 1.6 and of 2 log 0.4, as the other image knows no class from another.
    targets = source.targets(views, torch.empty(0), 0)
    difference = targets[:, 0] - targets[:, 1]
    assert difference.allclose(torch.tensor(4.0).log().expand(2), atol=5e-3)
    assert targets.sum(1).abs().max() < 1e-4


def test_kept_classes_are_blended_as_probabilities(task):
    source = fitted(task, form="top-k", k=3)
    views = task.plan.batch(0, 0)
    targets = source.targets(views, torch.empty(0), 0)
    expected = task.mixed(source.labels, views)
    assert (targets / 20).softmax(1).allclose(expected, atol=1e-4)
    assert targets.isfinite().all()


def test_the_recipes_loss_meets_them_at_its_temperature(task):
    source, views = fitted(task), task.plan.batch(0, 0)
    targets = source.targets(views, torch.empty(0), 0)
    logits = torch.randn(len(views), 10, generator=torch.Generator().manual_seed(0))
    found = source.loss(logits, targets, views, 0)
    assert found.allclose(divergence(targets, logits, 20.0))
    assert source.probabilities(targets).allclose(F.softmax(targets / 20, 1))


def test_weak_teachers_are_averaged(tmp_path):
    task = tiny_task(tmp_path / "scratch")

    class Half(torch.nn.Module):
        def forward(self, pixels):
            return task.teacher(pixels) / 2  # type: ignore[misc]

    weak = replace(task, snapshot_source=lambda: [task.teacher, Half()])  # type: ignore[arg-type]
    views = task.plan.batch(0, 0)
    both = fitted(weak, teachers="trajectory").targets(views, torch.empty(0), 0)
    one = fitted(task).targets(views, torch.empty(0), 0)
    torch.testing.assert_close(both, 0.75 * one, rtol=0, atol=0.03)
    assert Infer.needs(Infer.Options(teachers="trajectory")).snapshots


def test_bytes_are_foretold_and_budgets_met(task):
    for budget in (3000, 500, 400):
        options = settled(task.shape, budget)
        ledger = Infer.fit(task, options).storage()
        assert ledger.total <= budget
        assert ledger.values + ledger.indices == Infer.label_bytes(options, task.shape)
    assert settled(task.shape, 3000).form == "fp16"
    with pytest.raises(UserError, match="infer cannot meet a budget of 180 bytes"):
        settled(task.shape, 180)
