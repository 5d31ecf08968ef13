from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import (  # type: ignore[import-not-found]
    GRID,
    NETWORK,
    pictures,
    quick_clock,
    run_main,
    run_tiny,
    tiny_task,
)
from torch import nn

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.experiment import fitter
from benchmark.labels.label_learning import batched
from benchmark.labels.label_learning import run as running
from benchmark.labels.label_learning.batched import BatchedRuns
from benchmark.labels.label_learning.batched_network import BatchedNetwork, require_batchable
from benchmark.labels.label_learning.learner import Learner
from benchmark.labels.label_learning.ridge import Ridge
from benchmark.labels.label_learning.run import Run, learned
from benchmark.labels.label_learning.second_order import SecondOrder
from benchmark.labels.label_learning.settings import Learning
from benchmark.labels.shared_cache import Shared
from benchmark.methods.ld import LD
from benchmark.methods.ld_rr import LDRR
from benchmark.models import networks
from benchmark.records import store

QUICK = Learning(
    learners=(NETWORK,), epochs=4, outer_batch=10, inner_batch=5, window=3, select_every=2
)


@pytest.fixture
def tasks(tmp_path):
    """Three base sets of one training set, in one folder of stages."""
    shared = Shared(Cache(tmp_path / "stages"), {})
    task = replace(tiny_task(tmp_path / "scratch", images=10), shared=shared)
    return [replace(task, images=pictures(10, seed=seed)) for seed in (3, 4, 5)]


def second_order(network):
    return SecondOrder(network, 0.05, 1, "adam", 1e-2)


def two_steps(network):
    return SecondOrder(network, 0.05, 2, "sgd", 1e-2)


def ridge(network):
    return Ridge(network, networks.headless(network, 10), 10, 1.0, "adam", 1e-2)


MAKES = [second_order, two_steps, ridge]


def inputs(members, batches, name):
    """Networks in float64; labelled images (k, L, 6, ...) with labels; nine real images."""
    torch.manual_seed(3)
    made = [networks.create(name, 10, 1, 8).double() for _ in range(members + 1)]
    images = torch.rand(batches, members, 6, 1, 8, 8, dtype=torch.float64)
    labels = torch.rand(batches, members, 6, 10, dtype=torch.float64).softmax(-1)
    real = torch.rand(9, 1, 8, 8, dtype=torch.float64)
    return made, images, labels, real, torch.arange(9)


@pytest.mark.parametrize("name", [NETWORK, "lenet"])
@pytest.mark.parametrize("make", MAKES)
def test_each_lane_steps_as_it_would_alone(make, name):
    batches = make(networks.create(name, 10, 1, 8)).batches
    made, images, labels, real, truth = inputs(2, batches, name)
    *starts, fresh = made
    both = make(BatchedNetwork(starts))
    alone = [make(network) for network in starts]

    for step in range(4):
        if step == 2:  # one begins anew, the other goes on
            both.begin(1, fresh)
            alone[1] = make(fresh)
        inner = both.inner(images, labels)
        outer = both.outer(inner, real, truth)
        loss = both.move(inner, labels.flip(-1))
        for member, learner in enumerate(alone):
            own = learner.inner(images[:, member], labels[:, member])
            expected = learner.outer(own, real, truth)
            close(outer.gradient[:, member], expected.gradient)
            close(outer.loss[member], expected.loss)
            assert outer.error[member] == expected.error
            close(loss[member], learner.move(own, labels[:, member].flip(-1)))
            with torch.no_grad():
                close(both.only(member).predict(real)[0], learner.predict(real))
            assert both.only(member).mistakes([(real, truth)]) == learner.mistakes([(real, truth)])


class Attention(nn.Module):
    """Pixels look at each other; 4 logits."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, pixels):
        seen = self.linear(pixels)
        return nn.functional.scaled_dot_product_attention(seen, seen, seen).mean((1, 2))


def test_attention_has_lanes_too():
    networks, pixels = [Attention(), Attention()], torch.rand(2, 6, 1, 8, 8)
    members = BatchedNetwork(networks)
    for member, network in enumerate(networks):
        torch.testing.assert_close(members(pixels)[member], network(pixels[member]))
        torch.testing.assert_close(members(pixels[0])[member], network(pixels[0]))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def beside(tasks, options, make):
    """Labels and notes of each, learned side by side."""
    members = BatchedRuns(tasks, options, make)
    members.go(tasks[0].scratch / "batched.pt")
    return [(run.best, run.notes) for run in members.runs]


def agree(found, expected):
    """Labels are close; what was noted is the same, numbers in epochs close."""
    (labels, notes), (other, others) = found, expected
    torch.testing.assert_close(labels, other, rtol=1e-3, atol=1e-4)
    for name in ("outer_error", "outer_loss"):
        assert notes[name] == pytest.approx(others[name], abs=1e-4)
    for name in ("resets", "validation", "chosen"):
        assert notes[name] == others[name]


@pytest.fixture
def no_ties(monkeypatch):
    """Ridge regression on even labels gives even logits, whose largest rounding decides."""

    def error(logits, truth):
        return (logits.round(decimals=6).argmax(-1) != truth).float().mean(-1)

    monkeypatch.setattr("benchmark.labels.label_learning.ridge.error", error)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.usefixtures("no_ties")
def test_labels_notes_and_choice_are_those_learned_alone(tasks, make):
    alone = []
    for task in tasks:
        run = Run(task, QUICK, make)
        alone.append((run.learn(task.scratch / "checkpoint.pt"), run.notes))
    found = beside(tasks, QUICK, make)
    for one, other in zip(found, alone, strict=True):
        agree(one, other)
    notes = [told for _, told in found]
    assert notes[0]["resets"]
    assert any(told["resets"] != notes[0]["resets"] for told in notes)  # at times of their own
    assert not found[0][0].equal(found[1][0])


@pytest.mark.parametrize("make", [second_order, ridge])
def test_lanes_that_were_cut_give_the_same_labels(tasks, monkeypatch, make, capsys):
    whole = beside(tasks, QUICK, make)
    monkeypatch.setattr(running, "CHECKPOINT_EVERY_SECONDS", 0.0)
    epoch, done = BatchedRuns.epoch, []

    def cut(self, number):
        if number == 3:
            raise KeyboardInterrupt
        epoch(self, number)

    monkeypatch.setattr(BatchedRuns, "epoch", cut)
    with pytest.raises(KeyboardInterrupt):
        beside(tasks, QUICK, make)
    monkeypatch.setattr(BatchedRuns, "epoch", lambda self, n: (done.append(n), epoch(self, n)))
    checkpoint = tasks[0].scratch / "batched.pt"
    kept = checkpoint.read_bytes()
    for (labels, notes), (other, others) in zip(beside(tasks, QUICK, make), whole, strict=True):
        assert labels.equal(other)
        assert notes == others
    assert done == [3]
    checkpoint.write_bytes(kept)
    beside(tasks[:2], QUICK, make)  # the checkpoint of other base sets
    assert done == [3, 0, 1, 2, 3]
    assert "starting over" in capsys.readouterr().err


@pytest.mark.parametrize("method", [LD, LDRR])
@pytest.mark.usefixtures("no_ties")
def test_prepare_leaves_what_fit_would_make(tasks, method, monkeypatch):
    options = method.resolve_options(method.Options(**vars(QUICK)), tasks[0].shape, None)
    expected = method.fit(replace(tasks[2], shared=None), options)
    first = method.fit(tasks[1], options)  # there already
    seen = []
    start = BatchedRuns.__init__

    def watched(self, members, *rest):
        seen.append({task.images.digest for task in members})
        start(self, members, *rest)

    monkeypatch.setattr(batched.BatchedRuns, "__init__", watched)
    method.prepare([*tasks, tasks[0]], options)
    assert seen == [{tasks[0].images.digest, tasks[2].images.digest}]
    method.prepare(tasks, options)
    monkeypatch.setattr(Learner, "__init__", None)  # no more learning
    found = method.fit(tasks[2], options)
    assert len(seen) == 1
    agree((found.labels, found.notes), (expected.labels, expected.notes))
    assert method.fit(tasks[1], options).labels.equal(first.labels)


def test_time_is_shared_and_checkpoints_are_gone(tasks, tmp_path, monkeypatch):
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr("benchmark.labels.shared_cache.time.perf_counter", lambda: next(ticks))
    options = LD.resolve_options(LD.Options(**vars(replace(QUICK, epochs=1))), tasks[0].shape, None)
    shared = Shared(Cache(tmp_path / "stages"), {})
    LD.prepare([replace(task, shared=shared) for task in tasks], options)
    for task in tasks:
        spared = shared.spared
        LD.fit(replace(task, shared=shared), options)
        assert shared.spared - spared == pytest.approx(10 / 3)
    assert not list((tmp_path / "stages").rglob("*.pt"))


@pytest.mark.parametrize("together", [True, False])
def test_stages_that_were_cut_go_on_together_or_alone(tasks, monkeypatch, together):
    monkeypatch.setattr(running, "CHECKPOINT_EVERY_SECONDS", 0.0)
    options = LD.resolve_options(LD.Options(**vars(QUICK)), tasks[0].shape, None)
    expected = learned(replace(tasks[0], shared=None), options, "ld", second_order)
    epoch, done = BatchedRuns.epoch, []

    def cut(self, number):
        done.append(number)
        if len(done) == 3:
            raise KeyboardInterrupt
        epoch(self, number)

    monkeypatch.setattr(BatchedRuns, "epoch", cut)
    with pytest.raises(KeyboardInterrupt):
        batched.learn_batched(tasks, options, "ld", second_order)
    if together:
        batched.learn_batched(tasks, options, "ld", second_order)
    assert done == ([0, 1, 2, 2, 3] if together else [0, 1, 2])
    agree(learned(tasks[0], options, "ld", second_order), expected)


@pytest.mark.parametrize(
    ("learners", "message"),
    [
        (("lenet", NETWORK), f"Learners lenet, {NETWORK} take turns.* leave out --batched"),
        (("resnet20",), "resnet20 networks cannot learn labels side by side.* leave out"),
    ],
)
def test_learners_that_cannot_stand_side_by_side(tasks, learners, message):
    with pytest.raises(UserError, match=message):
        BatchedRuns(tasks, replace(QUICK, learners=learners), ridge)


def test_networks_that_are_random_are_refused():
    dropping = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4))
    with pytest.raises(UserError, match="some networks cannot learn labels side by side"):
        require_batchable(dropping, "some", torch.rand(2, 1, 8, 8))


def arguments(draws, method, *options):
    images = ",".join(f"random[draw={draw}]" for draw in range(draws))
    common = [f"{method}.{option}" for option in ("epochs=2", "window=5", *options)]
    asked = ["--images", images, "--methods", method, "--seeds", 2]
    return [*asked, *(part for option in common for part in ("--set", option))]


def outcome(work):
    """Each cell's accuracy, and each stage's learned labels."""
    found = store.read(sorted((work / "records").glob("*.json")))
    cells = [(r["cell"]["images"], r["cell"]["seed"]) for r in found]
    accuracy = dict(zip(cells, (r["result"]["accuracy"] for r in found), strict=True))
    stages = (work / "stages").glob("learned-labels-*[!k]")
    return accuracy, {f.name: load_file(f / "labels.safetensors")["labels"] for f in stages}


def test_runs_give_the_same_records(tmp_path, monkeypatch):
    monkeypatch.setattr(fitter, "call", lambda work, *arguments: work(*arguments))
    sizes = []
    start = BatchedRuns.__init__

    def watched(self, tasks, *rest):
        sizes.append(len(tasks))
        start(self, tasks, *rest)

    monkeypatch.setattr(BatchedRuns, "__init__", watched)
    asked = arguments(3, "ld", f"learners={NETWORK}")
    run_tiny(tmp_path / "alone", *asked)
    assert not sizes
    run_tiny(tmp_path / "together", *asked, "--batched", 2)
    assert sizes == [2]  # the third by itself
    accuracy, labels = outcome(tmp_path / "alone")
    others, found = outcome(tmp_path / "together")
    assert len(accuracy) == 6
    assert others == pytest.approx(accuracy, abs=0.01)
    assert len(labels) == 3
    for name, expected in labels.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-4)
    run_tiny(tmp_path / "together", *asked, "--batched", 2)
    assert sizes == [2]


def test_what_cannot_be_together_fails_and_the_rest_goes_on(tmp_path):
    asked = arguments(2, "ld", f"learners=lenet,{NETWORK}")
    common = ["run", *GRID, "--work", tmp_path, *asked, "--batched", 2]
    with quick_clock():
        code, out, err = run_main(*common, "--methods", "hard,ld")
    assert code == 2
    assert err.count("failed: ld") == 1
    assert "take turns" in err
    assert "hard" in out
    code, _, err = run_main(*common, "--executor", "ray")
    assert code == 2
    assert "leave out --batched 2, or the executor" in err
