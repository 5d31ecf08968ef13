"""Expert labels on real digits: which snapshot is chosen, and what is shipped."""

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import dataset_of, reloaded, run_tiny, tiny_task  # type: ignore[import-not-found]

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.data.place import Place
from benchmark.experiment.conformance import method_fit
from benchmark.labels.task import TaskShape
from benchmark.methods.expert import Expert, soft_labels
from benchmark.models.teachers import TeacherOptions, load, trained

FEW = {"steps": 30, "lr": 5e-3}


def settled(task, **options):
    return Expert.resolve_options(Expert.Options(**options), task.shape, None)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A task of real digits, whose teacher has learnt something."""
    root = tmp_path_factory.mktemp("digits")
    task = replace(method_fit.tiny_task(root), scratch=root)
    whole = dataset_of("digits").load(Place(None, Cache(root / "stages")))
    network = "convnet-d2-w16"
    trained(network, whole, TeacherOptions(epochs=2, snapshots=0), task.compute, root)
    teacher = load(network, root / "teacher.safetensors", 10, 1, 8, task.device).teacher
    return replace(task, teacher=teacher)


@pytest.fixture
def blind(digits):
    """The teacher, but each image looks like any other to it."""
    teacher = copy.deepcopy(digits.teacher)
    for parameter in teacher.parameters():
        parameter.zero_()
    return teacher


def test_the_snapshot_whose_student_does_best_is_taken(digits, blind, tmp_path):
    task = replace(digits, snapshot_source=lambda: [blind, digits.teacher, blind])
    source = Expert.fit(task, settled(task, **FEW))
    assert source.labels.allclose(soft_labels(task, digits.teacher, 1.0), atol=1e-3)
    accuracies = source.notes["held_out_accuracy"]
    assert source.notes["snapshot"] == 1
    assert accuracies[1] > 0.3 > accuracies[0] == accuracies[2]
    assert source.notes["held_out_images"] == 200
    assert json.loads(json.dumps(source.notes)) == source.notes
    assert not list(digits.scratch.glob("trial*"))
    assert reloaded(source, tmp_path / "saved").labels.equal(source.labels)


def test_of_equals_the_earlier(digits):
    task = replace(digits, snapshot_source=lambda: [digits.teacher, copy.deepcopy(digits.teacher)])
    source = Expert.fit(task, settled(task, **FEW))
    assert source.notes["snapshot"] == 0
    first, second = source.notes["held_out_accuracy"]
    assert first == second


def test_labels_are_those_of_plain_images_at_the_temperature(digits):
    task = replace(digits, snapshot_source=lambda: [digits.teacher])
    source = Expert.fit(task, settled(task, temperature=4.0, steps=1))
    logits = digits.teacher(task.images.pixels.float() / 255)
    assert source.labels.allclose((logits / 4).softmax(1), atol=1e-3)
    assert not source.labels.allclose(logits.softmax(1), atol=1e-2)


def test_the_student_learns_from_what_is_shipped(digits):
    task = replace(digits, snapshot_source=lambda: [digits.teacher])
    one = Expert.fit(task, settled(task, form="top-k", k=1, steps=3))
    hard = torch.nn.functional.one_hot(one.labels.argmax(1), 10).float()
    assert one.labels.equal(hard)
    torch.manual_seed(5)  # nothing but the task's seed matters
    again = Expert.fit(task, settled(task, form="top-k", k=1, steps=3))
    assert again.notes == one.notes


def test_the_student_fits_the_resolution():
    shape = TaskShape(classes=10, images=100, batches=4, epochs=1, resolution=32)
    assert Expert.resolve_options(Expert.Options(), shape, None).student == "convnet-d3-w32"
    small = Expert.resolve_options(Expert.Options(), replace(shape, resolution=8), 1600)
    assert (small.student, small.form) == ("convnet-d2-w32", "int8")
    with pytest.raises(UserError, match=r"Unknown network 'convet-d3'\. Did you mean 'convnet-d3'"):
        Expert.resolve_options(Expert.Options(student="convet-d3"), shape, None)


def test_a_training_without_snapshots_is_refused(tmp_path):
    task = tiny_task(tmp_path / "scratch")
    with pytest.raises(UserError, match="There are no weak teachers"):
        Expert.fit(task, settled(task))


@pytest.mark.parametrize("option", ["k", "temperature", "steps", "lr", "held_out"])
def test_options_that_cannot_be(option):
    with pytest.raises(ValueError, match=f"{option}.* must be"):
        Expert.Options(**{option: 0})


def test_from_the_command_line(tmp_path):
    told = ("--images", "random[draw=1]", "--set", "teacher.epochs=3")
    out = run_tiny(tmp_path, *told, "--methods", "expert[steps=3],label_solve[draws=1]")
    assert re.search(r"^- +random +expert\[steps=3\] ", out, re.MULTILINE)
    assert re.search(r"^- +random +label_solve\[draws=1\] ", out, re.MULTILINE)
    fits = [json.loads(Path(f).read_text()) for f in tmp_path.rglob("fit.json")]
    (expert,) = [fit["notes"] for fit in fits if "snapshot" in fit["notes"]]
    assert len(expert["held_out_accuracy"]) == 2  # after one epoch and two of three
