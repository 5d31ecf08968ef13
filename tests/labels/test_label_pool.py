from collections import Counter
from dataclasses import replace

import pytest
from tiny import tiny_task

from benchmark.core.errors import UserError
from benchmark.labels.label_pool import LabelPool, batches_within, labels_of
from benchmark.methods.gift import Options


@pytest.fixture
def task(tmp_path):
    """Twenty pictures, four epochs of three batches."""
    return tiny_task(tmp_path / "scratch")


def test_no_batch_comes_again_before_all_others_were_shown(task):
    pool = LabelPool(task.plan, 5)  # three batches an epoch
    drawn = [n for epoch in range(10) for n in pool.draws(3, epoch)]
    for start in range(0, 30, 5):
        assert sorted(drawn[start : start + 5]) == list(range(5))
    assert drawn[:5] != drawn[5:10]
    assert drawn != [n for epoch in range(10) for n in pool.draws(4, epoch)]
    assert pool.draws(3, 7) == drawn[21:24]  # whatever came before


def test_a_pool_smaller_than_an_epoch_shows_each_as_often(task):
    pool = LabelPool(task.plan, 2)
    assert Counter(n for e in range(4) for n in pool.draws(0, e)) == {0: 6, 1: 6}


def test_batches_stand_where_the_plan_has_them(task):
    pool = LabelPool(task.plan, 5)
    views, planned = pool.batch(4), task.plan.batch(1, 1)
    assert views.index.equal(planned.index)
    assert (views.epoch, views.batch) == (0, 4)
    assert [pool.rows(n) for n in (0, 2, 4)] == [slice(0, 7), slice(14, 20), slice(27, 34)]
    assert [labels_of(task.shape, n) for n in (0, 1, 3, 5)] == [0, 7, 20, 34]


def test_a_budget_takes_the_most_batches_whose_labels_fit(task):
    shape = task.shape
    empty = 3000 - 2 * 10 * labels_of(shape, 5)  # what five batches leave of 3,000 bytes
    found = {n: batches_within("gift", Options(), shape, n, 12) for n in range(1600, 6000, 100)}
    assert sorted(found.values()) == list(found.values())
    assert max(found.values()) == 12
    assert empty > 0
    with pytest.raises(UserError, match="gift cannot meet a budget of 900 bytes: the least"):
        batches_within("gift", Options(), shape, 900, 12)
    assert batches_within("gift", Options(), replace(shape, epochs=2), 10**6, 6) == 6
