import copy
from unittest.mock import patch

import pytest
import torch
from tiny import NETWORK, quick_clock, reloaded, tiny_task
from torch import nn

from benchmark.data.recipe import Recipe
from benchmark.experiment import ridge_student, throughput
from benchmark.labels import student
from benchmark.methods.lpqld import LPQLD
from benchmark.models import ridge

RECIPE = Recipe("test", epochs=4, batch_size=8)


@pytest.fixture
def source(tmp_path):
    task = tiny_task(tmp_path / "scratch")
    options = LPQLD.resolve_options(LPQLD.Options(), task.shape, None)
    return reloaded(LPQLD.fit(task, options), tmp_path / "artefact")


def test_every_repeat_is_kept(source):
    with quick_clock():
        classifier = student.build(NETWORK, source, 0)
        found = throughput.measure(classifier, source, student.optimisation(RECIPE, source))
    for repeats in (found.bare_step, found.step, found.targets):
        assert len(repeats) == throughput.REPEATS
        assert all(0 < seconds < 60 for seconds in repeats)
    assert found.floor is None  # stored labels run no network
    assert found.batch == 7  # 20 images in three batches


def test_an_online_source_is_timed_beside_its_bare_network(source):
    passes = []

    class Watched(nn.Flatten):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            assert not torch.is_grad_enabled()
            passes.append(tuple(pixels.shape))
            return super().forward(pixels)

    class Online(type(source)):
        network = Watched()

    source.__class__ = Online
    with quick_clock():
        classifier = student.build(NETWORK, source, 0)
        found = throughput.measure(classifier, source, student.optimisation(RECIPE, source))
    floor = found.floor or []
    assert len(floor) == len(found.targets) == throughput.REPEATS
    assert all(0 < seconds < 60 for seconds in floor)
    images = source.task.images
    assert set(passes) == {(7, images.channels, images.resolution, images.resolution)}


def test_nothing_that_is_measured_changes(source):
    classifier = student.build(NETWORK, source, 0).eval()
    source.training_state = {"epoch": torch.tensor(3), "temperature": torch.tensor(0.5)}
    source.training_state |= {"logits": torch.rand(7, 10), "targets": torch.rand(7, 10)}
    memory = copy.deepcopy(source.training_state)
    weights = copy.deepcopy(classifier.state_dict())
    with quick_clock():
        throughput.measure(classifier, source, student.optimisation(RECIPE, source))
    assert not classifier.training
    assert all(p.grad is None for p in classifier.parameters())
    assert weights.keys() == classifier.state_dict().keys()
    assert all(value.equal(weights[name]) for name, value in classifier.state_dict().items())
    assert memory.keys() == source.training_state.keys()
    assert all(value.equal(memory[name]) for name, value in source.training_state.items())


def test_a_ridge_tester_is_timed_with_its_own_step(source):
    classifier = ridge_student.build(NETWORK, source, 0)
    before = classifier.last.clone()
    solved = []

    def solve(*args, **kwargs):
        solved.append(args[0].shape)
        return ridge.solve(*args, **kwargs)

    with quick_clock(), patch.object(ridge_student, "solve", solve):
        throughput.measure(classifier, source, student.optimisation(RECIPE, source))
    assert len(solved) >= 2 * throughput.REPEATS  # in the whole step and in the bare one
    assert classifier.last.equal(before)
