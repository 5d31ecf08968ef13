import copy
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from tiny import NETWORK, pictures, quick_clock, reloaded, shipped, tiny_task
from variants import fitted

from benchmark.core import plugins
from benchmark.data.recipe import Recipe
from benchmark.experiment import step_parts, throughput
from benchmark.experiment.conformance.fake_cuda import FakeCuda, on_cuda
from benchmark.labels import student
from benchmark.records.speed import StepSeconds

RECIPE = Recipe("test", epochs=4, batch_size=8)


@pytest.fixture
def task(tmp_path):
    return tiny_task(tmp_path / "scratch")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(step_parts, "COPIED_BYTES", 1000)
    with quick_clock():
        yield


def measured(source, learner=None) -> step_parts.Parts:
    learner = learner or student.build(NETWORK, source, 0)
    return step_parts.measure(learner, source, student.optimisation(RECIPE, source), pictures(30))


@pytest.mark.parametrize("name", ["hard", "lpqld"])
def test_every_part_is_timed_as_often(name, task, tmp_path):
    found = measured(reloaded(fitted(name, {}, task), tmp_path / "artefact"))
    assert found.seconds.keys() == StepSeconds.__annotations__.keys()
    every = [*found.seconds.values(), found.evaluation["seconds"], found.copies["host"]["seconds"]]
    for repeats in every:
        assert len(repeats) == step_parts.REPEATS
        assert all(0 < seconds < 60 for seconds in repeats)
    assert (found.evaluation["size"], found.copies["host"]["size"]) == (30, 1000)
    assert found.copies.keys() == {"host"}
    assert found.memory["of"] == "process"
    assert 10**7 < found.memory["bytes"] < 10**12


def test_few_test_images_are_enough(task, tmp_path, monkeypatch):
    monkeypatch.setattr(step_parts, "MOST_TESTED", 12)
    source = reloaded(fitted("hard", {}, task), tmp_path / "artefact")
    seen = []

    def predicted(classifier, images, compute, chosen):
        seen.append(chosen.tolist())
        assert classifier.training  # the steps before were

    with patch.object(step_parts, "predicted", predicted):
        assert measured(source).evaluation["size"] == 12
    assert set(map(tuple, seen)) == {tuple(range(12))}


def test_nothing_that_is_measured_changes(task, tmp_path):
    source = reloaded(fitted("lpqld", {"keep": 0.5}, task), tmp_path / "artefact")
    learner = student.build(NETWORK, source, 0).eval()
    next(student.losses_of(learner, source)(0)).whole()  # remembers the batch
    assert source.training_state
    memory, weights = dict(source.training_state), copy.deepcopy(learner.state_dict())
    measured(source, learner)
    assert source.training_state == memory
    assert not learner.training
    assert all(value.equal(weights[name]) for name, value in learner.state_dict().items())


def test_the_learning_step_has_the_sources_loss(task, tmp_path):
    source = reloaded(fitted("soft", {}, task), tmp_path / "artefact")
    losses, steps = [], []
    whole, own = step_parts._Parts.whole, source.loss
    with (
        patch.object(source, "loss", lambda *a: losses.append(1) or own(*a)),
        patch.object(step_parts._Parts, "whole", lambda self: steps.append(1) or whole(self)),
    ):
        measured(source)
    assert len(losses) >= len(steps) + step_parts.REPEATS


@pytest.mark.parametrize(
    ("name", "options", "stored"),
    [
        ("soft", {}, 7 * 10 * 2 * 20 / 21),  # 20 images in 3 batches, all epochs kept
        ("lpqld", {"keep": 0.5, "quantise": "none", "values": "fp16"}, None),
        ("smoothed", {}, 0.0),
        ("teacher", {}, 0.0),
    ],
)
def test_a_step_reads_its_share_of_the_stored_labels(name, options, stored, task, tmp_path):
    source = reloaded(fitted(name, options, task), tmp_path / "artefact")
    found = step_parts.label_bytes(source, 7)
    assert found["targets"] == 7 * 10 * 4
    if stored is None:  # half of the batches are kept, and read twice as often
        ledger, batches = source.storage(), source.task.shape.epochs * 3
        stored = (ledger.values + ledger.indices) / (batches / 2)
    assert found["stored"] == pytest.approx(stored)


def test_labels_of_images_are_read_by_batch(task, tmp_path):
    source = reloaded(fitted("smoothed", {}, task), tmp_path / "artefact")
    ledger = replace(source.storage(), values=400, indices=100)
    with patch.object(source, "storage", lambda: ledger):
        assert step_parts.label_bytes(source, 8)["stored"] == pytest.approx(500 * 8 / 20)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU itself is at hand")
@pytest.mark.parametrize("name", ["hard", "soft", "lpqld"])
def test_parts_of_a_gpus_step_mix_no_devices_and_wait_for_nothing(name, task, tmp_path):
    (tmp_path / "artefact").mkdir()
    fitted(name, {}, task).save(tmp_path / "artefact")
    with FakeCuda() as mode:
        source = plugins.load(plugins.METHODS, name).load(
            tmp_path / "artefact", on_cuda(shipped(task))
        )
        learner = student.build(NETWORK, source, 0)
        optimisation = student.optimisation(RECIPE, source)
        with patch.object(throughput.copy, "deepcopy", lambda network: network):  # has no numbers
            parts = step_parts._Parts(learner, source, optimisation, pictures(30))
        mode.hurried = True
        for part in (parts.forward, parts.forward_backward, parts.bare, parts.learning):
            part()
        for part in (parts.sampling, parts.rendering, parts.targets, parts.whole):
            part()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpus_copies_and_memory(task, tmp_path):
    source = reloaded(fitted("hard", {}, task), tmp_path / "artefact")
    compute = replace(source.task.compute, device=torch.device("cuda"))
    images = source.task.images.to(compute.device)
    source.task = replace(source.task, compute=compute, images=images)
    found = measured(source)
    assert found.copies.keys() == {"host", "device", "host to device"}
    assert found.memory["of"] == "device"
    assert found.memory["bytes"] > 1000
