from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tiny import NETWORK, reloaded, shipped  # type: ignore[import-not-found]

from benchmark import student, training
from benchmark.contract import TaskShape
from benchmark.errors import UserError
from benchmark.methods.lpqld import CONTAINER_BYTES, LPQLD, label_bytes, pool_size
from benchmark.options import build
from benchmark.packing import pack
from benchmark.recipe import Objective, Recipe
from benchmark.render import render

PLAIN = LPQLD.Options(keep=1.0, k=2, schedule="none", calibrate=False)


def source_of(task, options=PLAIN, epochs=4, temperature=20.0):
    """A source with nothing stored, for what does not look at labels."""
    plan = replace(task.plan, epochs=epochs)
    task = replace(task, plan=plan, objective=Objective(temperature=temperature))
    return LPQLD(task, options, torch.empty(0, 2), torch.empty(0, dtype=torch.uint8))


def test_marginal_renormalisation_by_hand(task):
    # At T = 2, logits 2 ln 3 and 0 give 3/4 and 1/4; at T = 1, 9/10 and 1/10.
    plan = replace(task.plan, images=2, batch_size=2, epochs=2)
    values = torch.tensor([[0.0, 0.0], [2 * 1.0986123, 0.0]] * 2).half()
    indices = pack(torch.tensor([[9, 0], [7, 2]] * 2), 4)
    for temperature, large in ((2.0, 0.75), (1.0, 0.9)):
        objective = Objective(temperature=temperature)
        source = LPQLD(replace(task, plan=plan, objective=objective), PLAIN, values, indices)
        targets = source.targets(plan.batch(1, 0), torch.empty(0), 0)
        expected = torch.zeros(2, 10)
        expected[0, [9, 0]] = 0.5
        expected[1, [7, 2]] = torch.tensor([large, 1 - large])
        assert torch.allclose(targets, expected, atol=1e-3)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_the_largest_logits_are_kept(task, tmp_path, k):
    options = LPQLD.Options(keep=0.5, k=k, schedule="none")
    source = reloaded(LPQLD.fit(task, options), tmp_path / "saved")
    for epoch in range(3):
        for views in source.views(epoch):
            pixels = render(task.images.pixels, views)
            logits = task.teacher(pixels).half().float()
            largest = logits.topk(k, 1)
            expected = torch.zeros(len(views), 10)
            expected.scatter_(1, largest.indices, F.softmax(largest.values / 20, 1))
            assert torch.allclose(source.targets(views, pixels, epoch), expected, atol=1e-6)


def temperatures(task, schedule, epochs=300, **options):
    """By epoch from 1, as the paper counts."""
    source = source_of(task, replace(PLAIN, schedule=schedule, **options), epochs)
    return [None, *(source.temperature(epoch) for epoch in range(epochs))]


def test_step_schedule(task):
    found = temperatures(task, "step")
    by_hand = [20, 14, 9.8, 6.86, 4.802, 3.3614, 2.35298, 2, 2, 2]
    for step, value in enumerate(by_hand):
        for epoch in (max(1, 30 * step), 30 * step + 29):
            assert found[epoch] == pytest.approx(value), epoch
    assert found[209] > 2.35
    assert found[210] == found[300] == 2


def test_other_schedules(task):
    assert set(temperatures(task, "none")[1:]) == {20}
    cosine = temperatures(task, "cosine")
    assert cosine[1] == pytest.approx(20, abs=0.01)
    assert cosine[150] == pytest.approx(11)
    assert cosine[300] == pytest.approx(2)
    assert temperatures(task, "cosine_reverse")[1:] == pytest.approx([22 - t for t in cosine[1:]])
    reverse = temperatures(task, "step_reverse")
    assert (reverse[1], reverse[300]) == (2, 20)
    assert reverse[1:] == sorted(reverse[1:])
    assert reverse[250] == pytest.approx(14)


def test_the_schedule_stretches_with_the_epochs(task):
    assert temperatures(task, "step", epochs=10)[1:6] == pytest.approx(
        [14, 9.8, 6.86, 4.802, 3.3614]
    )
    assert temperatures(task, "step", epochs=3, interval=0.01)[1] == 14


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.25, 0.01])
def test_the_pool_is_drawn_without_replacement(task, keep):
    source = source_of(task, replace(PLAIN, keep=keep))
    plan, pool = source.task.plan, pool_size(keep, 12)
    assert (plan.batches, source.pool) == (3, pool)
    drawn = []
    for epoch in range(50):
        views = list(source.views(epoch))
        numbers = [v.epoch * plan.batches + v.batch for v in views]
        assert len(numbers) == plan.batches
        assert len(set(numbers)) == min(pool, plan.batches)
        drawn.append(tuple(numbers))
        for view, number in zip(views, numbers, strict=True):
            assert view.crop.equal(plan.batch(*divmod(number, plan.batches)).crop)
    assert {n for numbers in drawn for n in numbers} == set(range(pool))
    assert len(set(drawn)) > 1 or pool == 1


def test_the_draws_follow_the_students_seed(task):
    def draws(seed):
        source = source_of(replace(task, seed=seed))
        return [(v.epoch, v.batch) for epoch in range(5) for v in source.views(epoch)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def optimum(logits, targets):
    """The temperature of least divergence among 0.01, 0.02, ..., 1.00, one at a time."""
    divergences = {
        t / 100: F.kl_div(F.log_softmax(logits * 100 / t, 1), targets, reduction="batchmean").item()
        for t in range(1, 101)
    }
    return min(divergences, key=divergences.__getitem__)


def test_calibration(task):
    source = source_of(task, replace(PLAIN, calibrate=True))
    views = task.plan.batch(0, 0)
    batches = []
    for epoch, temperature in enumerate((0.37, 0.82, 3.0, 0.004)):
        expected = 1.0 if epoch == 0 else optimum(*batches[-1])
        for true in (0.55, temperature):
            logits = torch.randn(6, 10)
            targets = F.softmax(logits / true, 1)
            loss = source.loss(logits, targets, views, epoch)
            by_hand = F.kl_div(F.log_softmax(logits / expected, 1), targets, reduction="batchmean")
            assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4, abs=1e-6)
            batches.append((logits, targets))
    assert [optimum(*batches[i]) for i in (1, 3, 5, 7)] == [0.37, 0.82, 1.0, 0.01]


def test_without_calibration_the_student_has_the_labels_temperature(task):
    source = source_of(task, replace(PLAIN, schedule="step", interval=0.25))
    logits, targets = torch.randn(6, 10), torch.rand(6, 10).softmax(1)
    found = source.loss(logits, targets, task.plan.batch(0, 0), epoch=1)
    by_hand = F.kl_div(F.log_softmax(logits / 9.8, 1), targets, reduction="batchmean")
    assert found.item() == pytest.approx(by_hand.item())


class Stop(Exception):
    pass


def test_calibration_survives_a_checkpoint(task, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    reloaded(LPQLD.fit(task, LPQLD.Options(keep=0.5, k=3)), tmp_path / "saved")
    recipe = Recipe("test", task.plan.epochs, task.plan.batch_size)

    def train(checkpoint, stop_at=None):
        source = LPQLD.load(tmp_path / "saved", shipped(task, seed=1))
        views = source.views

        def stopped(epoch):
            if epoch == stop_at:
                raise Stop
            return views(epoch)

        monkeypatch.setattr(source, "views", stopped)
        classifier = student.build(NETWORK, source, seed=1)
        curve = student.train(classifier, source, recipe, tmp_path / checkpoint, "test")
        temperature = source.training_state["temperature"].item()
        return curve, temperature, [p.tolist() for p in classifier.parameters()]

    whole = train("whole")
    assert whole[1] != 1.0
    for stop in (1, 3):
        with pytest.raises(Stop):
            train(f"{stop}", stop)
        assert train(f"{stop}") == whole


shapes = st.builds(
    TaskShape,
    classes=st.integers(2, 1000),
    images=st.integers(20, 5000),
    batches=st.integers(1, 20),
    epochs=st.integers(1, 300),
)


@given(shapes, st.integers(0, 10**9), st.floats(0.001, 1))
def test_settings_for_any_budget(shape, budget, keep):
    steps = shape.epochs * shape.batches
    fewest = min(2, shape.classes)
    least = label_bytes(shape, 1, fewest) + CONTAINER_BYTES
    if budget < least:
        with pytest.raises(UserError, match=f"budget of {budget:,} bytes: .* takes {least:,}"):
            LPQLD.settle(LPQLD.Options(keep=keep), shape, budget)
        return
    found = LPQLD.settle(LPQLD.Options(keep=keep), shape, budget)
    pool = pool_size(found.keep, steps)
    room = budget - CONTAINER_BYTES
    assert label_bytes(shape, pool, found.k) <= room
    # No setting nearby would use the budget better.
    if fewest < found.k < shape.classes:
        assert pool == pool_size(keep, steps)
        assert label_bytes(shape, pool, found.k + 1) > room
    elif pool < steps:
        assert label_bytes(shape, pool + 1, found.k) > room


@pytest.mark.parametrize("budget", [2160, 2400, 3000, 3217, 4000, 5000, 100_000])
def test_the_artefact_meets_its_budget(task, budget):
    options = LPQLD.settle(LPQLD.Options(keep=0.25), task.shape, budget)
    ledger = LPQLD.fit(task, options).storage()
    assert ledger.total <= budget
    assert ledger.container <= CONTAINER_BYTES
    assert ledger.values + ledger.indices <= label_bytes(
        task.shape, pool_size(options.keep, task.plan.steps), options.k
    )


def test_no_budget():
    def settled(classes, **options):
        return LPQLD.settle(LPQLD.Options(**options), TaskShape(classes, 100, 2, 10), None)

    assert settled(1000).k == 100
    assert settled(10).k == 2
    assert settled(1).k == 1
    assert settled(10, k=7) == LPQLD.Options(k=7)


def test_settings_that_are_refused():
    shape = TaskShape(10, 100, 2, 10)
    with pytest.raises(UserError, match=r"lpqld\.k is 11, but there are 10 classes"):
        LPQLD.settle(LPQLD.Options(k=11), shape, None)
    for name, value in (("keep", 0), ("keep", 1.1), ("k", -1), ("decay", 0), ("floor", 0)):
        with pytest.raises(UserError, match=f"lpqld: .*{name}"):
            build(LPQLD.Options, {name: value}, "lpqld")
