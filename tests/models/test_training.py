import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.core.errors import UserError
from benchmark.models import training
from benchmark.models.training import Optimisation, optimise

EPOCHS, STEPS = 5, 3


class Stop(Exception):
    pass


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))


def train(module, checkpoint, optimiser="adamw", stop_at=EPOCHS, memory=None):
    """Inputs and dropout come from torch's generator; the loss also uses what it remembers."""
    memory = {} if memory is None else memory

    def losses(epoch):
        if epoch == stop_at:
            raise Stop
        for _ in range(STEPS):
            inputs = torch.randn(6, 4)
            loss = F.mse_loss(module(inputs), inputs[:, :2]) * (1 + memory.get("last", 0))
            memory["last"] = loss.detach()
            yield loss

    schedule = Optimisation(EPOCHS, STEPS, optimiser, lr=0.05, warmup=0.2)  # type: ignore[arg-type]
    return optimise(module, losses, schedule, "test", checkpoint, memory)


def weights(module):
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_going_on_from_a_checkpoint_changes_no_bit(tmp_path, monkeypatch, optimiser):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    whole = network()
    curve = train(whole, None, optimiser)
    for stop in range(1, EPOCHS):
        checkpoint = tmp_path / f"{stop}.pt"
        with pytest.raises(Stop):
            train(network(), checkpoint, optimiser, stop_at=stop)
        torch.manual_seed(99)
        resumed = nn.Sequential(*(type(m)(*a) for m, a in zip(whole, SIZES, strict=True)))
        assert train(resumed, checkpoint, optimiser) == curve
        assert weights(resumed).equal(weights(whole))


SIZES = ((4, 8), (8,), (0.3,), (8, 2))


def test_no_checkpoint_before_its_time(tmp_path):
    train(network(), tmp_path / "c.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        train(network(), tmp_path / "c.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite(tmp_path, monkeypatch, value):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    module = nn.Linear(1, 1)

    def losses(epoch):
        yield module(torch.ones(1, 1)).sum() * (value if epoch == 1 else 1)

    with pytest.raises(UserError, match=rf"test: the loss is {value} in epoch 2. A lower lr"):
        optimise(module, losses, Optimisation(3, 1, "sgd"), "test", tmp_path / "c.pt")


def rates(schedule):
    optimiser, course = schedule.build(nn.Linear(1, 1))
    found = []
    for _ in range(schedule.epochs * schedule.steps_per_epoch):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        course.step()
    return found


def test_the_rate_rises_and_falls():
    found = rates(Optimisation(2, 5, "sgd", lr=2.0, warmup=0.2))
    half_cosine = [2.0, 1.923880, 1.707107, 1.382683, 1.0, 0.617317, 0.292893, 0.076120]
    assert found == pytest.approx([1.0, 2.0, *half_cosine], abs=1e-6)
    assert rates(Optimisation(1, 2, "adamw", lr=1.0)) == pytest.approx([1.0, 0.5])


def test_a_constant_rate_stays_and_may_rise_first():
    assert rates(Optimisation(2, 2, lr=0.5, schedule="constant")) == [0.5] * 4
    rising = rates(Optimisation(1, 4, lr=1.0, warmup=0.5, schedule="constant"))
    assert rising == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_norms_and_biases_do_not_decay_and_frozen_weights_do_not_move(optimiser):
    module = network()
    module[0].weight.requires_grad_(False)
    built, _ = Optimisation(1, 1, optimiser, weight_decay=0.3).build(module)
    decays = {tuple(p.shape): g["weight_decay"] for g in built.param_groups for p in g["params"]}
    assert decays == {(2, 8): 0.3, (8,): 0.0, (2,): 0.0}


def test_the_curve_is_the_mean_loss_of_each_epoch():
    module = nn.Linear(1, 1)

    def losses(epoch):
        for step in range(2):
            yield module.weight.sum() * 0 + epoch + step

    assert optimise(module, losses, Optimisation(3, 2), "test") == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # By epochs of three steps: RDED's rule ends at half, Qin's falls each quarter.
        ("to-half", [0.5 * (1 + math.cos(math.pi * e / 20)) for e in range(10)]),
        ("quarters", [0.3 ** (e // 2) for e in range(10)]),
        ("constant", [1.0] * 10),
    ],
)
def test_schedules_by_epoch(schedule, expected):
    made = Optimisation(10, 3, lr=2.0, schedule=schedule)
    optimiser, rates = made.build(nn.Linear(2, 2))
    found = []
    for _ in range(30):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        rates.step()
    assert found == pytest.approx([2 * share for share in expected for _ in range(3)])


def test_a_training_that_is_stopped_early_follows_the_whole_schedule():
    def losses(module):
        def epoch(number):
            torch.manual_seed(number)
            for _ in range(STEPS):
                yield module(torch.randn(6, 4)).square().mean()

        return epoch

    whole, part = network(), network()
    schedule = Optimisation(EPOCHS, STEPS)
    curve = optimise(whole, losses(whole), schedule, "whole")
    assert optimise(part, losses(part), schedule, "part", until=2) == curve[:2]
