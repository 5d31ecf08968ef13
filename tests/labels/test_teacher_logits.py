import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import tiny_task

from benchmark.core.errors import UserError
from benchmark.data.rendering import render
from benchmark.labels import teacher_logits as module
from benchmark.labels.teacher_logits import resident, teacher_logits


@pytest.fixture
def task(tmp_path):
    return tiny_task(tmp_path / "scratch")


def test_logits_are_the_teachers_for_the_batches_asked_for(task):
    numbers = [11, 0, 4]
    found = list(teacher_logits(task, numbers, "label"))
    assert len(found) == 3
    for number, (views, logits) in zip(numbers, found, strict=True):
        assert (views.epoch, views.batch) == divmod(number, 3)
        assert views.crop.equal(task.plan.batch(views.epoch, views.batch).crop)
        expected = task.teacher(render(task.images.pixels, views))
        assert logits.equal(expected.half())
        assert not logits.requires_grad
        assert expected.std() > 0.1  # or equality would say little


def test_batches_are_labelled_one_at_a_time(task, monkeypatch):
    asked = []
    forward = task.teacher.forward
    monkeypatch.setattr(task.teacher, "forward", lambda x: asked.append(len(x)) or forward(x))
    labelled = teacher_logits(task, range(12), "label")
    assert asked == []
    next(labelled)
    next(labelled)
    assert asked == [7, 7]


def test_gradients_of_the_caller_are_left_alone(task):
    for views, _ in teacher_logits(task, range(2), "label"):
        assert torch.is_grad_enabled()
        assert len(views) == 7


def test_large_labels_stay_where_they_are(monkeypatch):
    labels = torch.arange(100.0)
    assert resident(labels, torch.device("cpu")) is labels
    assert resident(labels, torch.device("meta")).device.type == "meta"
    monkeypatch.setattr(module, "RESIDENT_BYTES", 399)
    assert resident(labels, torch.device("meta")) is labels


# Labels of 20,000 classes from a teacher that costs nothing: 40 MB of them for ten epochs.
FIT = """
import resource
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny import tiny_task

from benchmark.data.images import ResidentImages
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.soft import Soft

names = [str(number) for number in range(20_000)]
ramp = torch.linspace(0, 1, 20_000)


def relabelled(method, options, epochs):
    root = Path("task")
    task = tiny_task(root, images=100, batch_size=50, epochs=epochs)
    images = ResidentImages(task.images.pixels, task.images.labels, names)
    task = replace(task, images=images, teacher=lambda x: x.mean((1, 2, 3))[:, None] * ramp)
    source = method.fit(task, method.resolve_options(options, task.shape, None))
    (root / "saved").mkdir()
    source.save(root / "saved")
    assert source.storage().values == epochs * 100 * 20_000 * 2
    shutil.rmtree(root)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


for epochs in (10, 40):
    print(relabelled(Soft, Soft.Options(), epochs))
    print(relabelled(LPQLD, LPQLD.Options(quantise="none", keep=1.0), epochs))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_more_epochs_take_no_more_memory(tmp_path):
    # A shell stands between, for a process inherits the peak of the one that forks it. Peaks
    # only rise: each figure holds for all that was relabelled so far.
    found = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", FIT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    _, once, soft, lpqld = map(int, found.stdout.split())
    assert 50e6 < once < 1e9  # or the 120 MB that four times the labels add would be few
    assert soft <= 1.1 * once
    assert lpqld <= 1.1 * once


@pytest.mark.parametrize("beyond", [7e4, float("nan"), float("inf")])
def test_logits_that_float16_does_not_hold_are_refused_where_they_are_made(beyond, tmp_path):
    task = tiny_task(tmp_path)
    teacher = task.teacher
    assert teacher is not None
    far = replace(task, teacher=lambda pixels: teacher(pixels) * 0 + beyond)
    with pytest.raises(UserError, match=r"logits reach .*float16 .*does not hold"):
        list(teacher_logits(far, range(1), ""))
