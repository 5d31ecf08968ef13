from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import reloaded

from benchmark.core.errors import UserError
from benchmark.methods.gift import GIFT, Options, refined


def fitted(task, budget=None, **options):
    return GIFT.fit(task, GIFT.resolve_options(Options(**options), task.shape, budget))


def test_refined_labels_are_those_worked_out_by_hand():
    """Smoothing 0.2 of two classes: 0.8 and 0.2, of length 0.8246; (3, 4) has length 5."""
    found = refined(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]), 0.25, 0.2)
    length = (0.8**2 + 0.2**2) ** 0.5
    by_hand = [0.25 * 0.8 / length + 0.75 * 0.6, 0.25 * 0.2 / length + 0.75 * 0.8]
    torch.testing.assert_close(found, torch.tensor([by_hand]))


def test_the_loss_sees_directions_alone(task, tmp_path):
    source = reloaded(fitted(task), tmp_path / "saved")
    views = next(iter(source.views(0)))
    targets = source.targets(views, torch.empty(0), 0)
    hard = task.hard_labels(views)
    aim = refined(targets, hard, 0.1, 0.1)
    assert float(source.loss(3 * aim, targets, views, 0)) == pytest.approx(0, abs=1e-6)
    assert float(source.loss(-aim, targets, views, 0)) == pytest.approx(2)
    other = torch.randn(len(views), 10, generator=torch.Generator().manual_seed(0))
    by_hand = 1 - F.cosine_similarity(other, aim).mean()
    torch.testing.assert_close(source.loss(other, targets, views, 0), by_hand)


def test_all_labels_are_replayed_in_order_and_few_are_drawn(task, tmp_path):
    whole = reloaded(fitted(task), tmp_path / "whole")
    assert not whole.seeded
    assert [v.batch for e in range(4) for v in whole.views(e)] == list(range(12))
    few = reloaded(fitted(task, keep=0.25), tmp_path / "few")
    assert few.seeded
    assert {v.batch for e in range(4) for v in few.views(e)} == {0, 1, 2}


def test_bytes_are_foretold_and_budgets_met(task, tmp_path):
    for number, (budget, batches) in enumerate([(None, 12), (3000, None)]):
        options = GIFT.resolve_options(Options(), task.shape, budget)
        ledger = reloaded(GIFT.fit(task, options), tmp_path / f"{number}").storage()
        assert ledger.total - ledger.container == GIFT.label_bytes(options, task.shape)
        assert batches is None or options.batches == batches
        assert budget is None or ledger.total <= budget


def test_more_batches_than_there_are_are_refused(task):
    with pytest.raises(UserError, match=r"gift\.batches is 13, but there are 12"):
        fitted(task, batches=13)


@pytest.mark.parametrize("options", [{"weight": 1.5}, {"smoothing": -0.1}, {"keep": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        replace(Options(), **options)
