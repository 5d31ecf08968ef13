"""A pool of stored batches: its order by hand, what a budget buys, what is refused."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan
from benchmark.labels.container import container_bytes, like
from benchmark.labels.label_pool import (
    LabelPool,
    batches_holding,
    batches_within,
    labels_of,
    restored,
)
from benchmark.labels.task import task_shape

PLAN = ViewPlan(3, 20, 8, 8, 6, Augmentation())  # batches of 7, 7 and 6


@dataclass(frozen=True)
class Options:
    batches: int = 18


@given(st.integers(1, 18), st.integers(0, 2**32))
def test_each_round_shows_every_batch_once(size, seed):
    pool = LabelPool(PLAN, size)
    shown = [position for epoch in range(12) for position in pool.draws(seed, epoch)]
    assert len(shown) == 36
    for start in range(0, 36 - size + 1, size):
        assert sorted(shown[start : start + size]) == list(range(size))


def test_orders_depend_on_seed_and_stream_alone():
    pool = LabelPool(PLAN, 18)
    first = [pool.draws(1, epoch) for epoch in range(6)]
    assert first == [pool.draws(1, epoch) for epoch in range(6)]
    assert first != [pool.draws(2, epoch) for epoch in range(6)]
    assert first != [pool.draws(1, epoch, 1) for epoch in range(6)]
    assert first[0] + first[1] != first[2] + first[3]


def test_a_whole_pool_is_replayed_in_the_plans_order_and_another_is_drawn_from():
    whole, part = LabelPool(PLAN, 18), LabelPool(PLAN, 17)
    assert (whole.whole, part.whole) == (True, False)
    assert [v.batch for v in whole.replay(7, 2)] == [6, 7, 8]
    assert [v.batch for v in part.replay(7, 2)] == part.draws(7, 2)
    assert part.draws(7, 2) != part.draws(8, 2)


def test_a_position_has_the_plans_views_and_rows():
    pool = LabelPool(PLAN, 5)
    views, planned = pool.batch(4), PLAN.batch(1, 1)
    assert (views.epoch, views.batch) == (0, 4)
    assert views.index.equal(planned.index)
    assert views.crop.equal(planned.crop)
    assert [pool.rows(p) for p in (0, 2, 4)] == [slice(0, 7), slice(14, 20), slice(27, 34)]
    assert [v.batch for v in pool.views(0, 2)] == pool.draws(0, 2)


def container(shape):
    return container_bytes(
        "m", Options(), shape, [like("logits", "values", torch.float16, 6172, 10)], 0
    )


def test_labels_of_batches_by_hand():
    shape = task_shape(10, PLAN)
    assert [labels_of(shape, n) for n in (1, 2, 3, 4, 18)] == [7, 14, 20, 27, 120]


@pytest.mark.parametrize(
    ("labels", "batches"), [(7, 1), (13, 1), (14, 2), (20, 3), (26, 3), (27, 4)]
)
def test_a_budget_buys_whole_batches(labels, batches):
    shape = task_shape(10, PLAN)
    budget = container(shape) + 20 * labels
    assert batches_within("m", Options(), shape, budget, 18, "logits") == batches
    assert batches_within("m", Options(), shape, budget, 1, "logits") == 1
    assert batches_holding(shape, labels) == batches


def test_a_budget_below_one_batch_is_refused_with_the_least():
    shape = task_shape(10, PLAN)
    least = container(shape) + 20 * 7
    with pytest.raises(
        UserError, match=f"m cannot meet a budget of 200 bytes.* {least:,}, for one"
    ):
        batches_within("m", Options(), shape, 200, 18, "logits")
    assert batches_within("m", Options(), shape, least, 18, "logits") == 1


def test_what_is_restored_fits_the_plan(tmp_path):
    task = replace(tiny_task(tmp_path / "scratch"), plan=PLAN)
    rows = torch.zeros(27, 10, dtype=torch.float16)

    def found(batches, tensor, name="soft"):
        return restored(task, batches, SimpleNamespace(tensors={name: tensor}), "soft")  # type: ignore[arg-type]

    assert found(4, rows) is rows
    for batches in (0, 19):
        with pytest.raises(ArtefactError, match=f"{batches} batches .* the plan has 18"):
            found(batches, rows)
    for batches, tensor, name in [(5, rows, "soft"), (4, rows.float(), "soft"), (4, rows, "x")]:
        with pytest.raises(ArtefactError, match="soft are not float16"):
            found(batches, tensor, name)
