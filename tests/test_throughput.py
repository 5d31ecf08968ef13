import copy

import pytest
import torch
from tiny import NETWORK, quick_clock, reloaded, tiny_task

from benchmark import student, throughput
from benchmark.methods.lpqld import LPQLD
from benchmark.recipe import Recipe

RECIPE = Recipe("test", epochs=4, batch_size=8)


@pytest.fixture
def source(tmp_path):
    task = tiny_task(tmp_path / "scratch")
    options = LPQLD.settle(LPQLD.Options(), task.shape, None)
    return reloaded(LPQLD.fit(task, options), tmp_path / "artefact")


def test_every_repeat_is_kept(source):
    with quick_clock():
        classifier = student.build(NETWORK, source, 0)
        found = throughput.measure(classifier, source, student.schedule(RECIPE, source))
    for name in ("seconds_bare_step", "seconds_step", "seconds_targets"):
        assert len(found[name]) == throughput.REPEATS
        assert all(0 < seconds < 60 for seconds in found[name])
    assert found["batch"] == 7  # 20 images in three batches
    assert found["precision"] == "fp32"
    assert found["hardware"].startswith("CPU, ")


def test_nothing_that_is_measured_changes(source):
    classifier = student.build(NETWORK, source, 0).eval()
    source.training_state = {"epoch": torch.tensor(3), "temperature": torch.tensor(0.5)}
    source.training_state |= {"logits": torch.rand(7, 10), "targets": torch.rand(7, 10)}
    memory = copy.deepcopy(source.training_state)
    weights = copy.deepcopy(classifier.state_dict())
    with quick_clock():
        throughput.measure(classifier, source, student.schedule(RECIPE, source))
    assert not classifier.training
    assert all(p.grad is None for p in classifier.parameters())
    assert weights.keys() == classifier.state_dict().keys()
    assert all(value.equal(weights[name]) for name, value in classifier.state_dict().items())
    assert memory.keys() == source.training_state.keys()
    assert all(value.equal(memory[name]) for name, value in source.training_state.items())
