from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import NETWORK, pictures, tiny_task  # type: ignore[import-not-found]

from benchmark.labels import distill
from benchmark.labels.distill import DistillOptions, TeacherBatches
from benchmark.models import networks, training
from benchmark.models.classifier import Classifier


@pytest.fixture
def task(tmp_path):
    return replace(tiny_task(tmp_path / "scratch"), train=pictures(60, seed=2))


def pupil(seed=1):
    torch.manual_seed(seed)
    return Classifier(networks.create(NETWORK, 10, 1, 8), (0.4,), (0.3,))


def learn(task, fit, network=None, **more):
    network = pupil() if network is None else network
    notes = distill.distill(task, network, [task.teacher], fit, "fit", task.scratch / "c", **more)
    (task.scratch / "c").unlink(missing_ok=True)
    return network, notes


def test_a_fit_comes_closer_to_the_teacher(task):
    _, notes = learn(task, DistillOptions(epochs=30, batch_size=20, lr=5e-3, held_out=0.2))
    assert notes["loss"][-1] < 0.5 * notes["loss"][0]
    assert len(notes["loss"]) == len(notes["agreement"]) == 30
    assert notes["ended"] == "all epochs done"


def test_wanted_is_the_mean_of_the_teachers_logits(task):
    other = pupil(5).eval()
    batch = next(
        TeacherBatches(task, [task.teacher, other], DistillOptions(1, batch_size=20)).epoch(0)
    )
    with torch.no_grad():
        expected = (task.teacher(batch.shown) + other(batch.shown)) / 2
    torch.testing.assert_close(batch.target, expected)


def test_held_out_images_are_never_learnt_from(task):
    batches = TeacherBatches(task, [task.teacher], DistillOptions(1, held_out=0.25))
    assert len(batches.held_out) == 15
    assert set(batches.held_out.tolist()) | set(batches.seen.tolist()) == set(range(60))
    shown = sum(len(batch.target) for batch in batches.epoch(0))
    assert shown == batches.plan.images == 45


def test_agreement_counts_top_classes(task):
    batches = TeacherBatches(task, [task.teacher], DistillOptions(1, held_out=0.5))
    assert batches.agreement(task.teacher) == 1
    worst = torch.nn.Sequential()
    worst.forward = lambda pixels: -task.teacher(pixels)  # type: ignore[method-assign]
    assert batches.agreement(worst) == 0


def test_replayed_lessons_are_the_same_without_asking_the_teacher_again(task):
    fresh = TeacherBatches(task, [task.teacher], DistillOptions(4, batch_size=20))
    again = TeacherBatches(task, [task.teacher], DistillOptions(4, batch_size=20, replay=2))
    asked = []
    hook = task.teacher.register_forward_hook(lambda *_: asked.append(1))
    for epoch in range(4):
        for batch, first in zip(again.epoch(epoch), fresh.epoch(epoch % 2), strict=True):
            assert batch.shown.equal(first.shown)
            torch.testing.assert_close(batch.target, first.target, rtol=2e-3, atol=2e-3)
            assert batch.labels[1].equal(first.labels[1])
    hook.remove()
    assert len(asked) == 4 * fresh.plan.batches  # those of `fresh`


def test_frozen_layers_are_asked_once(task):
    asked = []

    def features(pixels):
        asked.append(len(pixels))
        return pixels.flatten(1)

    fit = DistillOptions(3, batch_size=20, replay=1, held_out=0)
    batches = TeacherBatches(task, [task.teacher], fit, ("flat", features))
    assert sum(asked) == 60
    for epoch in range(3):
        for batch in batches.epoch(epoch):
            assert batch.shown.shape[1:] == (64,)
    assert sum(asked) == 60
    plain = next(TeacherBatches(task, [task.teacher], replace(fit, replay=0)).epoch(0))
    first = next(batches.epoch(0))
    torch.testing.assert_close(first.shown, plain.shown.flatten(1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["logits", "features"])
def test_stores_do_not_mix_up_teachers_or_layers(task, name):
    fit = DistillOptions(1, batch_size=20, replay=1)
    one = TeacherBatches(task, [task.teacher], fit, ("flat", lambda p: p.flatten(1)))
    other = TeacherBatches(task, [pupil(7).eval()], fit, ("twice", lambda p: 2 * p.flatten(1)))
    a, b = (batches._stored[name][0:5] for batches in (one, other))
    assert not torch.allclose(a, b)


def test_patience_ends_the_fit_at_its_best_weights(task, monkeypatch):
    found = iter([0.2, 0.6, 0.5, 0.55, 0.4, 0.9])
    states = []

    def agreement(self, network):
        states.append({n: p.detach().clone() for n, p in network.named_parameters()})
        return next(found)

    monkeypatch.setattr(TeacherBatches, "agreement", agreement)
    network, notes = learn(task, DistillOptions(epochs=6, batch_size=20, held_out=0.2, patience=2))
    assert notes["ended"] == "no more agreement for 2 epochs"
    assert notes["agreement"] == pytest.approx([0.2, 0.6, 0.5, 0.55])
    assert all(p.equal(states[1][n]) for n, p in network.named_parameters())


def test_the_time_budget_ends_the_fit(task):
    _, notes = learn(task, DistillOptions(epochs=500, batch_size=20, minutes=1e-6))
    assert len(notes["loss"]) == 1
    assert notes["ended"] == "1e-06 minutes were over"


@pytest.mark.parametrize("patience", [0, 3])
def test_a_killed_fit_goes_on_as_if_it_had_not_been(task, monkeypatch, patience):
    fit = DistillOptions(epochs=5, batch_size=20, held_out=0.2, patience=patience, replay=2)
    whole, notes = learn(task, fit)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", 0.0)
    real, calls = TeacherBatches.epoch, []

    def killed(self, epoch):
        calls.append(epoch)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, epoch)

    monkeypatch.setattr(TeacherBatches, "epoch", killed)
    network = pupil()
    arguments = (task, network, [task.teacher], fit, "fit", task.scratch / "c")
    with pytest.raises(KeyboardInterrupt):
        distill.distill(*arguments)
    again = distill.distill(*arguments)
    assert again == notes
    assert all(a.equal(b) for a, b in zip(network.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize("patience", [0, 1])
def test_a_fit_killed_after_its_last_checkpoint_still_looks(task, monkeypatch, patience):
    fit = DistillOptions(epochs=1, batch_size=20, held_out=0.2, patience=patience)
    whole, notes = learn(task, fit)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", 0.0)
    network = pupil()
    arguments = (task, network, [task.teacher], fit, "fit", task.scratch / "c")
    with monkeypatch.context() as patched:

        def killed(self, network):
            raise KeyboardInterrupt

        patched.setattr(TeacherBatches, "agreement", killed)
        with pytest.raises(KeyboardInterrupt):
            distill.distill(*arguments)
    assert (task.scratch / "c").exists()
    assert distill.distill(*arguments) == notes
    assert all(a.equal(b) for a, b in zip(network.parameters(), whole.parameters(), strict=True))


def test_losses_by_hand(task):
    fit = DistillOptions(1, batch_size=20, held_out=0, ce_weight=0.5)
    batch = next(TeacherBatches(task, [task.teacher], fit).epoch(0))
    logits = torch.randn(len(batch.target), 10)
    weight = batch.weight[:, None]
    mixed = weight * F.one_hot(batch.labels[0], 10) + (1 - weight) * F.one_hot(batch.labels[1], 10)
    entropy = -(mixed * logits.log_softmax(1)).sum(1).mean()
    squares = (logits - batch.target).square().mean()
    found = distill.loss(logits, batch, fit, 4.0)
    torch.testing.assert_close(found, squares + 0.5 * entropy)
    target = (batch.target / 4).softmax(1)
    kl = (target * (target.log() - (logits / 4).log_softmax(1))).sum(1).mean() * 16
    found = distill.loss(logits, batch, replace(fit, loss="kl", ce_weight=0), 4.0)
    torch.testing.assert_close(found, kl)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "at least 1"),
        ({"lr": 0.0}, "lr positive"),
        ({"held_out": 1.0}, "share below 1, got 1.0"),
        ({"replay": -1}, "replay must not be negative, got -1"),
        ({"patience": 2, "held_out": 0.0}, "patience needs held_out"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        DistillOptions(**{"epochs": 1, **options})
