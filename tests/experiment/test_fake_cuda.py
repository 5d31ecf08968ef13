from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import NETWORK, dataset_of, pictures, quick_clock, shipped, tiny_task  # type: ignore[import-not-found]
from variants import QUICK, VARIANTS, fitted, label  # type: ignore[import-not-found]

from benchmark.core import plugins
from benchmark.core.device import Compute
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Augmentation, Recipe
from benchmark.data.views import ViewPlan
from benchmark.datasets.distilled import lpld, rded, sre2l
from benchmark.experiment import ridge_student, throughput
from benchmark.experiment.conformance.fake_cuda import (
    CUDA,
    DeviceFault,
    FakeCompute,
    FakeCuda,
    on_cuda,
    one_epoch,
)
from benchmark.labels import distill, student, teacher_logits, view_kernel
from benchmark.labels.distill import DistillOptions, TeacherBatches
from benchmark.labels.label_learning.batched import BatchedRuns
from benchmark.labels.label_learning.run import Run
from benchmark.models import networks
from benchmark.models.batch_norm import class_statistics, global_statistics
from benchmark.models.image_source import ImageTask
from benchmark.models.teachers import Teacher, losses_of
from benchmark.models.training import Optimisation, Training

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU itself is at hand"),
    pytest.mark.usefixtures("small_prior"),
]


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setattr(view_kernel, "VIEWS", 100)
    task = tiny_task(tmp_path / "scratch")
    return replace(task, snapshot_source=lambda: [task.teacher])


# Without `text` a fit starts elsewhere, and nothing else is another.
TRAINED = [(name, options) for name, options in VARIANTS if options.get("text", True)]


@pytest.mark.parametrize(("name", "options"), TRAINED, ids=label)
def test_a_student_of_every_method_trains_without_waiting(name, options, task, tmp_path):
    (tmp_path / "artefact").mkdir()
    fitted(name, options, task).save(tmp_path / "artefact")
    for bf16 in (False, True):
        student_task = replace(shipped(task), compute=Compute(task.device, bf16))
        one_epoch(plugins.load(plugins.METHODS, name), tmp_path / "artefact", student_task, NETWORK)


@pytest.mark.parametrize(
    "fault",
    [
        lambda there, here: there + here,
        lambda there, here: there.sum().item(),
        lambda there, here: bool(there.sum()),
        lambda there, here: there.cpu(),
        lambda there, here: there.tolist(),
        lambda there, here: there[there > 0],
        lambda there, here: here[there.long()],
        lambda there, here: there[here.long()],
        lambda there, here: here.copy_(there),
        lambda there, here: there.copy_(here),
        lambda there, here: here.to("cuda"),
        lambda there, here: torch.tensor([1.0], device=CUDA),
        lambda there, here: torch.linalg.cholesky(there @ there.T),
    ],
)
def test_what_mixes_devices_or_waits_is_told_with_its_line(fault):
    with FakeCuda() as gpu:
        here = torch.ones(3, 3)
        there = here.to(CUDA)
        gpu.hurried = True
        with pytest.raises(
            DeviceFault, match=r"test_fake_cuda\.py, line \d+, .*`lambda there, here"
        ):
            fault(there, here)


def test_what_neither_mixes_nor_waits_passes():
    with FakeCuda() as gpu:
        here = torch.ones(3)
        there = here.to(CUDA)
        layer = torch.nn.Linear(3, 4).to(CUDA)
        gpu.hurried = True
        moved = here.to(CUDA, non_blocking=True) + there * torch.tensor(2.0)
        assert moved.device.type == "cuda"
        assert here.sum().item() == 3
        assert torch.where(moved > 0, moved, 0.0).cumsum(0).shape == (3,)
        with FakeCompute(CUDA, bf16=True).autocast():
            assert layer(there).dtype == torch.bfloat16
    assert torch.tensor([1.0]).item() == 1


# What is beside a network student on resident labels.


@pytest.fixture
def soft(task, tmp_path):
    """Stored labels of the task, and where they lie."""
    (tmp_path / "artefact").mkdir()
    fitted("soft", {}, task).save(tmp_path / "artefact")
    return tmp_path / "artefact"


@pytest.mark.parametrize("bf16", [False, True])
def test_a_ridge_student_trains_without_waiting(task, soft, bf16):
    task = replace(shipped(task), compute=Compute(task.device, bf16))
    one_epoch(plugins.load(plugins.METHODS, "soft"), soft, task, NETWORK, ridge_student.build)


@pytest.mark.parametrize(
    ("name", "options"), [("soft", {}), ("lpqld", {}), ("lpqld", {"quantise": "adaptive"})]
)
def test_labels_too_large_to_be_resident_are_copied_without_waiting(
    name, options, task, tmp_path, monkeypatch
):
    monkeypatch.setattr(teacher_logits, "RESIDENT_BYTES", 0)
    (tmp_path / "artefact").mkdir()
    fitted(name, options, task).save(tmp_path / "artefact")
    one_epoch(plugins.load(plugins.METHODS, name), tmp_path / "artefact", shipped(task), NETWORK)


def test_throughput_is_measured_on_one_device(task, soft, monkeypatch):
    monkeypatch.setattr(throughput.copy, "deepcopy", lambda learner: learner)  # no bytes to copy
    with FakeCuda() as gpu, quick_clock():
        source = plugins.load(plugins.METHODS, "soft").load(soft, on_cuda(shipped(task)))
        learner = student.build(NETWORK, source, 0)
        schedule = student.optimisation(Recipe("test", 2, 8), source)
        gpu.hurried = True
        throughput.measure(learner, source, schedule)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_teacher_trains_without_waiting(resident, bf16):
    with FakeCuda() as gpu:
        images = pictures(30).to(CUDA) if resident else pictures(30)
        teacher = Teacher(NETWORK, networks.create(NETWORK, 10, 1, 8), (0.4,), (0.3,)).to(CUDA)
        plan = ViewPlan(0, 30, 8, 10, 2, Augmentation(mix="none"))
        training = Training(teacher, Optimisation(2, plan.batches, "sgd"), "teacher")
        gpu.hurried = True
        for epoch in range(2):
            losses = losses_of(teacher, images, plan, FakeCompute(CUDA, bf16), epoch)
            training.descend(losses)


def test_a_network_is_fitted_to_a_teacher_without_waiting(task):
    with FakeCuda() as gpu:
        task = replace(on_cuda(task), teacher=task.teacher.to(CUDA))
        network = networks.create(NETWORK, 10, 1, 8).to(CUDA)
        seen = TeacherBatches(task, [task.fitting()[0]], DistillOptions(2, 10, ce_weight=0.1))
        training = Training(network, Optimisation(2, seen.plan.batches), "fit")
        gpu.hurried = True

        def losses():
            for lesson in seen.epoch(0):
                yield distill.loss(network(lesson.shown), lesson, seen.fit, 1.0)

        training.descend(losses())


# Not LD's members: torch's forward derivative of stacked variances looks for the GPU from C++.
@pytest.mark.parametrize(("name", "members"), [("ld", 1), ("ld_rr", 1), ("ld_rr", 2)])
def test_labels_are_learned_without_waiting(name, members, task):
    method: Any = plugins.load(plugins.METHODS, name)
    options = method.resolve_options(method.Options(**QUICK[name]), task.shape, None)
    with FakeCuda() as gpu:
        # Images stay on the CPU, where networks are checked and images held out, once.
        task = replace(task, compute=FakeCompute(CUDA, bf16=False))
        make = method.learner(task, options)
        run = (
            BatchedRuns([task] * members, options, make)
            if members > 1
            else Run(task, options, make)
        )
        gpu.hurried = True
        for step, (pixels, truth) in enumerate(run.real.epoch(0)):
            assert run._step(0, step, pixels, truth).device.type == "cuda"


@pytest.mark.parametrize("source", [sre2l, lpld])
def test_images_are_recovered_without_waiting(source, tmp_path):
    data = dataset_of("digits").load(None)  # type: ignore[arg-type]
    network = networks.create("resnet20", 10, 1, 8)
    teacher = Teacher("resnet20", network, data.mean, data.std).eval().requires_grad_(False)
    options = source.Options(iterations=4)
    with FakeCuda() as gpu:
        compute = FakeCompute(CUDA, bf16=True)
        task = ImageTask(data, 2, 0, compute, tmp_path, teacher.to(CUDA))
        groups = [sre2l.Group(torch.arange(10) * 2 + i, target=0) for i in range(2)]
        targets = global_statistics(task.taught())
        recovery = sre2l.Recovery(task, options, groups, torch.arange(2), targets)
        canvas = torch.nn.ParameterList([recovery.canvas])
        training = Training(canvas, Optimisation(1, 4), "images")
        plan = sre2l.crops(task, options, 40, 20, epochs=1)
        some = ResidentImages(data.train.pixels[:40], torch.arange(40) % 10, data.class_names)
        gpu.hurried = True
        training.descend(recovery.losses(i).sum() for i in range(2))
        class_statistics(teacher, some, plan, compute, moving=source is lpld)


@pytest.mark.parametrize("factor", [1, 2])
def test_crops_are_chosen_without_waiting(factor, tmp_path):
    data = dataset_of("digits").load(None)  # type: ignore[arg-type]
    network = networks.create(NETWORK, 10, 1, 8)
    teacher = Teacher(NETWORK, network, data.mean, data.std).eval().requires_grad_(False)
    with FakeCuda() as gpu:
        task = ImageTask(data, 2, 0, FakeCompute(CUDA, False), tmp_path, teacher.to(CUDA))
        options = rded.Options(factor, crops=2)
        gpu.hurried = True
        patches, losses = rded.best_crops(task, torch.arange(300), 0, options)
    assert patches.device.type == losses.device.type == "cuda"
