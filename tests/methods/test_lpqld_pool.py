import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan
from benchmark.labels.packing import packed_bytes, width_for
from benchmark.methods.lpqld.pool import PlannedViews, Pool, choose, score

PLAN = ViewPlan(3, 20, 8, batch_size=8, epochs=4, augmentation=Augmentation((0.5, 1.0)))
GRANULARITIES = ["pool", "batch", "epoch"]


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_draws_are_seeded_and_differ_by_epoch(granularity, replacement):
    pool = Pool(24, 4, granularity, replacement)

    def drawn(seed):
        return [tuple(pool.draws(seed, epoch)) for epoch in range(6)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) > 3
    assert {len(positions) for positions in drawn(1)} == {4}
    assert {p for e in range(200) for p in pool.draws(1, e)} == set(range(24))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**64 - 1), st.integers(0, 300))
def test_a_pool_without_replacement_repeats_nothing_needlessly(size, per_epoch, seed, epoch):
    positions = Pool(size, per_epoch, "pool", False).draws(seed, epoch)
    shown = Counter(positions)
    assert len(positions) == per_epoch
    assert len(shown) == min(size, per_epoch)
    assert max(shown.values()) == -(-per_epoch // size)
    assert set(shown) <= set(range(size))


def test_a_pool_smaller_than_an_epoch_is_shown_in_one_order_after_another():
    rounds = [
        tuple(Pool(4, 12, "pool", False).draws(1, epoch)[4 * r : 4 * r + 4])
        for epoch in range(20)
        for r in range(3)
    ]
    assert all(sorted(order) == [0, 1, 2, 3] for order in rounds)
    assert len(set(rounds)) > 20  # of 24 orders
    assert any(a != b for a, b in zip(rounds[::3], rounds[1::3], strict=True))


def test_a_pool_with_replacement_draws_each_batch_on_its_own():
    pool = Pool(10, 10, "pool", True)
    epochs = [pool.draws(5, epoch) for epoch in range(2000)]
    # Ten draws of ten show 10 (1 - 0.9^10) = 6.5 different ones on average, all ten almost never.
    distinct = [len(set(positions)) for positions in epochs]
    assert sum(distinct) / len(distinct) == pytest.approx(6.513, abs=0.08)
    shown = Counter(p for positions in epochs for p in positions)
    assert all(count == pytest.approx(2000, abs=200) for count in shown.values())
    pairs = Counter((positions[0], positions[1]) for positions in epochs)
    assert len(pairs) == 100


@pytest.mark.parametrize("replacement", [False, True])
def test_batches_keep_their_place(replacement):
    pool = Pool(15, 3, "batch", replacement)
    epochs = [pool.draws(1, epoch) for epoch in range(100)]
    assert all([p % 3 for p in positions] == [0, 1, 2] for positions in epochs)
    # Each place goes its own way.
    assert any(len({p // 3 for p in positions}) == 3 for positions in epochs)


@pytest.mark.parametrize("replacement", [False, True])
def test_epochs_stay_whole(replacement):
    pool = Pool(15, 3, "epoch", replacement)
    for epoch in range(100):
        first, *rest = pool.draws(1, epoch)
        assert first % 3 == 0
        assert rest == [first + 1, first + 2]


@pytest.mark.parametrize("granularity", ["batch", "epoch"])
def test_without_replacement_all_stored_epochs_are_shown_before_any_comes_again(granularity):
    pool = Pool(15, 3, granularity, False)
    orders = set()
    for cycle in range(20):
        epochs = [pool.draws(1, 5 * cycle + e) for e in range(5)]
        assert sorted(p for positions in epochs for p in positions) == list(range(15))
        orders |= {tuple(p[place] for p in epochs) for place in range(3)}
    assert len(orders) > 20


@pytest.mark.parametrize("granularity", ["batch", "epoch"])
def test_with_replacement_a_stored_epoch_may_come_again_at_once(granularity):
    pool = Pool(15, 3, granularity, True)
    firsts = [pool.draws(1, epoch)[0] for epoch in range(500)]
    again = sum(a == b for a, b in pairwise(firsts))
    assert again / 499 == pytest.approx(1 / 5, abs=0.06)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_one_stored_epoch_is_shown_again_and_again(granularity, replacement):
    pool = Pool(3, 3, granularity, replacement)
    if granularity == "pool":
        assert {p for e in range(50) for p in pool.draws(0, e)} == {0, 1, 2}
    else:
        assert all(pool.draws(0, epoch) == [0, 1, 2] for epoch in range(5))


def unasked():
    """Scores of batches whose labelling would be wasted."""
    raise AssertionError("no score is needed")
    yield 0.0


def test_the_first_batches_and_random_ones_need_no_scores():
    assert choose("first", "highest", 6, 3, 20, 0, unasked()) == [0, 1, 2, 3, 4, 5]
    found = {tuple(choose("random", "highest", 6, 1, 20, seed, unasked())) for seed in range(40)}
    assert len(found) == 40
    assert all(list(f) == sorted(set(f)) and len(f) == 6 for f in found)
    assert {n for f in found for n in f} == set(range(20))


def test_random_epochs_are_whole():
    for seed in range(20):
        found = choose("random", "highest", 6, 3, 20, seed, unasked())
        assert found == [n for n in range(18) if n // 3 in {m // 3 for m in found}]
        assert len(found) == 6


@given(
    st.sampled_from(["confidence", "entropy", "loss"]),
    st.sampled_from(["highest", "lowest"]),
    st.integers(1, 4),
    st.lists(
        st.floats(0, 10, width=16, allow_subnormal=False), min_size=4, max_size=40, unique=True
    ),
    st.data(),
)
def test_the_metrics_extremes_are_kept(select, order, together, scores, data):
    groups = len(scores) // together
    wanted = data.draw(st.integers(1, groups))
    found = choose(select, order, wanted * together, together, len(scores), 0, iter(scores))
    sums = {g: sum(scores[g * together : (g + 1) * together]) for g in range(groups)}
    kept = {n // together for n in found}
    assert found == [n for n in range(groups * together) if n // together in kept]
    assert len(kept) == wanted
    worst, best = [sums[g] for g in kept], [sums[g] for g in sums if g not in kept]
    if best and order == "highest":
        assert min(worst) >= max(best) - 1e-9
    elif best:
        assert max(worst) <= min(best) + 1e-9


def by_hand(select, logits, labels):
    """The metric, one label at a time."""
    each = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        top = max(row)
        powers = [math.exp(z - top) for z in row]
        shares = [p / sum(powers) for p in powers]
        if select == "confidence":
            each.append(max(shares))
        elif select == "entropy":
            each.append(-sum(p * math.log(p) for p in shares if p))
        else:
            each.append(-sum(y * math.log(p) for y, p in zip(label, shares, strict=True) if y))
    return sum(each) / len(each)


@pytest.mark.parametrize("select", ["confidence", "entropy", "loss"])
@pytest.mark.parametrize("unknown", [0, 4])
def test_scores_by_hand(select, unknown):
    logits = (3 * torch.randn(5, 9)).half()
    labels = torch.zeros(5, 9)
    labels[:, 1], labels[:, 2] = 0.75, 0.25
    logits[:, 9 - unknown :] = -torch.inf
    found = score(select, logits, labels)
    assert found == pytest.approx(by_hand(select, logits, labels), rel=1e-5)


def test_more_than_the_mean_of_all_is_told_apart():
    # One-hot logits are sure, flat ones are not.
    sure, flat = 20 * torch.eye(4), torch.zeros(4, 4)
    labels = torch.eye(4)
    assert score("confidence", sure, labels) == pytest.approx(1)
    assert score("confidence", flat, labels) == pytest.approx(0.25)
    assert score("entropy", sure, labels) == pytest.approx(0, abs=1e-6)
    assert score("entropy", flat, labels) == pytest.approx(math.log(4))
    assert score("loss", sure, labels) == pytest.approx(0, abs=1e-6)
    assert score("loss", sure.flip(0), labels) == pytest.approx(20)


def saved(views):
    """What its tensors hold, by name."""
    return {blob.name: blob.tensor for blob in views.tensors()}


@pytest.mark.parametrize("numbers", [[2], [1, 2, 3], [0, 2, 3, 7, 11], [0, 1, 2, 4], [11]])
def test_numbers_of_batches_are_shipped(numbers):
    tensors = saved(PlannedViews(PLAN, numbers))
    assert tensors.keys() == {"batches"}
    assert len(tensors["batches"]) == packed_bytes(len(numbers), width_for(12))
    assert PlannedViews.restore(PLAN, len(numbers), tensors["batches"]).numbers == numbers


@pytest.mark.parametrize("count", [1, 5, 12])
def test_the_plans_first_batches_need_no_numbers(count):
    assert saved(PlannedViews(PLAN, range(count))) == {}
    assert PlannedViews.restore(PLAN, count, None).numbers == list(range(count))


def test_stored_views_are_the_plans_at_their_own_address():
    numbers = [1, 2, 5, 6, 11]
    views = PlannedViews(PLAN, numbers)
    assert views.batches == 5
    sizes = [7, 6, 6, 7, 6]  # of the plan's 7, 7 and 6
    for position, number in enumerate(numbers):
        found, planned = views.batch(position), PLAN.batch(number // 3, number % 3)
        assert (found.epoch, found.batch) == (0, position)
        same = replace(found, epoch=planned.epoch, batch=planned.batch)
        for name, value in vars(planned).items():
            assert torch.equal(torch.as_tensor(getattr(same, name)), torch.as_tensor(value))
        start = sum(sizes[:position])
        assert views.rows(position) == slice(start, start + sizes[position])
