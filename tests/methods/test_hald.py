from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import reloaded

from benchmark.core.errors import UserError
from benchmark.data.rendering import render
from benchmark.labels.task import TaskShape
from benchmark.methods.hald import HALD, Options, Phases


def fitted(task, budget=None, **options):
    return HALD.fit(task, HALD.resolve_options(Options(**options), task.shape, budget))


@pytest.mark.parametrize(
    ("share", "epochs", "phases"),
    [(0.5, 300, (75, 150, 75)), (0.5, 4, (1, 2, 1)), (1.0, 5, (2, 0, 3)), (0.01, 3, (0, 2, 1))],
)
def test_epochs_are_shared_out(share, epochs, phases):
    found = Phases.of(share, epochs)
    assert (found.before, found.hard, found.after) == phases
    places = [found.place(epoch) for epoch in range(epochs)]
    assert places.count(None) == found.hard
    assert [p for p in places if p and p[0]] == [(1, n) for n in range(found.after)]


def test_soft_epochs_show_the_pool_and_hard_ones_fresh_views(task, tmp_path):
    source = reloaded(fitted(task, batches=2), tmp_path / "saved")
    for epoch in (0, 3):
        for views in source.views(epoch):
            assert views.index.equal(task.plan.batch(0, views.batch).index)
            found = source.targets(views, torch.empty(0), epoch)
            torch.testing.assert_close(found.sum(1), torch.ones(len(views)), atol=2e-3, rtol=0)
    for views, planned in zip(source.views(1), task.plan.epoch(1), strict=True):
        assert views.index.equal(planned.index)
        found = source.targets(views, torch.empty(0), 1)
        torch.testing.assert_close(found, 0.2 * task.hard_labels(planned) + 0.08)


def test_losses_are_at_the_recipes_temperature_and_at_one(task, tmp_path):
    objective = replace(task.objective, temperature=4.0)
    source = reloaded(fitted(replace(task, objective=objective)), tmp_path / "saved")
    logits = torch.randn(7, 10, generator=torch.Generator().manual_seed(0))
    for epoch, temperature in ((0, 4.0), (1, 1.0)):
        views = next(iter(source.views(epoch)))
        targets = source.targets(views, torch.empty(0), epoch)
        some = logits[: len(views)]
        log_probs = F.log_softmax(some / temperature, 1)
        by_hand = F.kl_div(log_probs, targets, reduction="batchmean")
        torch.testing.assert_close(source.loss(some, targets, views, epoch), by_hand)


def test_stored_labels_are_the_teachers_up_to_a_number(task, tmp_path):
    source = reloaded(fitted(task), tmp_path / "saved")
    views, logits = next(source.stored_labels())
    exact = task.teacher(render(task.images.pixels, views))
    exact, logits = (each - each.mean(1, keepdim=True) for each in (exact, logits))
    torch.testing.assert_close(logits, exact, atol=0.03, rtol=0)


def test_the_papers_286_mib():
    """150 labels a class of ImageNet-1K, 1,000 fp16 probabilities each."""
    shape = TaskShape(classes=1000, images=10_000, batches=10, epochs=300, resolution=224)
    options = HALD.resolve_options(Options(slc=150), shape, None)
    assert options.batches == 150
    assert HALD.label_bytes(options, shape) / 2**20 == pytest.approx(286, abs=0.2)


def test_bytes_are_foretold_and_budgets_met(task, tmp_path):
    for number, budget in enumerate([None, 2200]):
        options = HALD.resolve_options(Options(slc=3.0), task.shape, budget)
        ledger = reloaded(HALD.fit(task, options), tmp_path / f"{number}").storage()
        assert ledger.total - ledger.container == HALD.label_bytes(options, task.shape)
        assert budget is None or ledger.total <= budget


def test_more_labels_than_soft_epochs_show_are_refused(task):
    with pytest.raises(UserError, match=r"hald\.batches is 7, but the soft epochs show 6"):
        fitted(task, batches=7)


@pytest.mark.parametrize("options", [{"slc": 0.0}, {"soft": 0.0}, {"smoothing": 1.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Options(**options)
