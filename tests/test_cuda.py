"""What a GPU must do as the CPU does; each test also runs on the CPU, to prove that it can.

`pytest -m cuda` runs what needs the GPU. Networks may differ there by what TF32 leaves out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import NAMES, NETWORK, pictures, quick_clock, shipped, tiny_task
from torch import nn
from variants import QUICK, VARIANTS, fitted, label

from benchmark.core import plugins
from benchmark.core.cache import Cache
from benchmark.core.device import Compute
from benchmark.data.images import Dataset, ResidentImages
from benchmark.data.recipe import Recipe
from benchmark.data.rendering import render
from benchmark.data.streamed import StreamedImages
from benchmark.datasets.streams.folders import folder_pictures
from benchmark.experiment import ridge_student, throughput
from benchmark.labels import streams, student, view_kernel
from benchmark.labels.contract import LabelSource
from benchmark.labels.stack import Stack
from benchmark.labels.streams import Learner
from benchmark.labels.task import LabelTask
from benchmark.models.classifier import correct
from benchmark.models.image_source import ImageTask, image_source
from benchmark.models.teachers import Teacher
from benchmark.models.training import Loss, Training

RECIPE = Recipe("cuda", epochs=2, batch_size=8)
NETWORKS_DIFFER_BY = 0.02  # of the largest target
pytestmark = [
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
    pytest.mark.usefixtures("small_prior", "few_views"),
]


@pytest.fixture
def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of few views, which are seen in a moment."""
    monkeypatch.setattr(view_kernel, "VIEWS", 100)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    return torch.device(request.param)


def on(device: torch.device, task: LabelTask, bf16: bool = False) -> LabelTask:
    """The task on a device; the real training set stays on the CPU."""
    teacher = None if task.teacher is None else task.teacher.to(device)
    return replace(
        task,
        images=task.images.to(device),
        compute=Compute(device, bf16),
        teacher=teacher,
        snapshot_source=lambda: [teacher],
    )


@pytest.fixture
def task(tmp_path, device) -> LabelTask:
    return on(device, tiny_task(tmp_path / "scratch"))


def saved(source: LabelSource, folder) -> LabelSource:
    """The source as a student gets it."""
    folder.mkdir()
    source.save(folder)
    return type(source).load(folder, shipped(source.task))


def answers(source: LabelSource) -> torch.Tensor:
    """Targets of the first epoch, on the CPU."""
    found = []
    for views in source.views(0):
        views = views.to(source.task.device)
        pixels = render(source.task.images.pixels, views)
        found.append(source.targets(views, pixels, 0))
        assert found[-1].device.type == source.task.device.type
        assert found[-1].dtype == torch.float32
    return torch.cat(found).cpu()


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=label)
def test_every_method_is_fitted_loaded_and_trained_on(name, options, task, tmp_path):
    source = saved(fitted(name, options, task), tmp_path / "artefact")
    there = answers(source)
    same = plugins.load(plugins.METHODS, name).load(
        tmp_path / "artefact", shipped(on(torch.device("cpu"), task))
    )
    largest = there.abs().max().item()
    within = NETWORKS_DIFFER_BY * largest if source.network is not None else 1e-5 * largest
    torch.testing.assert_close(there, answers(same), rtol=0, atol=within)
    learner = student.build(NETWORK, source, seed=1)
    curve = student.train(learner, source, RECIPE, tmp_path / "checkpoint.pt", "student")
    assert np.isfinite(curve).all()
    test = pictures(30, seed=3)
    assert correct(learner, test, source.task.compute).shape == (30,)


@pytest.mark.parametrize("name", ["hello", "lpqld", "soft", "teacher", "ld", "ld_rr"])
def test_bf16(name, task, tmp_path, device):
    source = saved(fitted(name, QUICK.get(name, {}), on(device, task, True)), tmp_path / "a")
    for build in (student.build, ridge_student.build):
        learner = build(NETWORK, source, 1)
        file = tmp_path / "checkpoint.pt"
        assert np.isfinite(student.train(learner, source, RECIPE, file, "student")).all()


@pytest.mark.parametrize("name", ["hard", "soft", "hello"])
def test_nothing_waits_inside_an_epoch(name, task, tmp_path, device):
    source = saved(fitted(name, QUICK.get(name, {}), task), tmp_path / "artefact")
    _epochs(student.build(NETWORK, source, 1), source, device)


@pytest.mark.parametrize("form", ["mr", "adaptive", "none"])
def test_nothing_waits_inside_an_epoch_of_lpqld(form, task, tmp_path, device):
    source = saved(fitted("lpqld", {"quantise": form}, task), tmp_path / "artefact")
    _epochs(student.build(NETWORK, source, 1), source, device)


@contextmanager
def nothing_waits(device: torch.device) -> Iterator[None]:
    """Where a GPU that is waited for raises."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def _epochs(learner: student.Student, source: LabelSource, device: torch.device) -> None:
    training = Training(learner, student.optimisation(RECIPE, source), "student")
    _unwaited(training, student.losses_of(learner, source), device, source.task.plan.batches)


def _unwaited(
    training: Training,
    losses_of: Callable[[int], Iterator[Loss]],
    device: torch.device,
    batches: int,
) -> None:
    """Two epochs, in which a GPU that is waited for raises."""
    training.descend(losses_of(0))  # handles are made, kernels chosen
    with nothing_waits(device):
        steps = training.descend(losses_of(1))
    assert steps == batches
    assert training.total.isfinite().all()


@pytest.mark.parametrize("network", ["convnet-d2-w8-bn", "convnet-d2-w8", "resnet20"])
def test_a_stack_learns_what_its_members_would(network, task, tmp_path, device):
    source = saved(fitted("soft", {}, task), tmp_path / "artefact")
    schedule = student.optimisation(RECIPE, source)

    def learners() -> list[Learner]:
        return [
            Learner(student.build(network, source, seed), source, "soft", tmp_path / f"{seed}.pt")
            for seed in range(3)
        ]

    one_by_one, stacked = learners(), learners()
    expected = [streams.train([learner], RECIPE).curves[0] for learner in one_by_one]
    found = streams.train_stacked(stacked, source, schedule).curves
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=NETWORKS_DIFFER_BY)
    seconds, _ = streams.trial([each.student for each in stacked], source, schedule)
    assert seconds.keys() == {"in turn", "stacked"}
    made = streams.train(learners(), RECIPE)
    assert bool(made.seconds_step) == (device.type == "cuda")
    np.testing.assert_allclose(np.array(made.curves), np.array(expected), rtol=NETWORKS_DIFFER_BY)


def test_a_network_with_batch_norm_is_stacked_in_bf16(task, tmp_path, device):
    source = saved(fitted("soft", {}, on(device, task, True)), tmp_path / "artefact")
    some = [student.build("convnet-d2-w8-bn", source, seed) for seed in range(3)]
    seconds, _ = streams.trial(some, source, student.optimisation(RECIPE, source))
    assert seconds.keys() == {"in turn", "stacked"}


def test_nothing_waits_inside_an_epoch_of_a_stack(task, tmp_path, device):
    source = saved(fitted("soft", {}, task), tmp_path / "artefact")
    some = [student.build(NETWORK, source, seed) for seed in range(3)]
    stack = Stack(some, source)
    training = Training(stack, student.optimisation(RECIPE, source), "stack", members=3)
    _unwaited(training, stack.losses, device, source.task.plan.batches)


def test_views_are_moved_by_one_copy_that_waits_for_nothing(task, device):
    views = task.plan.batch(1, 0)
    with nothing_waits(device):
        there = views.to(device)
    for name, value in vars(views).items():
        found = getattr(there, name)
        if isinstance(value, torch.Tensor):
            assert (found.device.type, found.dtype) == (device.type, value.dtype), name
            assert found.cpu().equal(value), name


def test_images_decoded_on_demand_are_those_held_in_memory(tmp_path, device):
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(12) * 10 // 12
    for number, (class_, picture) in enumerate(zip(labels.tolist(), pixels, strict=True)):
        file = tmp_path / "train" / NAMES[class_] / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file)
    found_there = folder_pictures(tmp_path / "train", [*NAMES], Cache(tmp_path / "index"))
    streamed = StreamedImages(found_there, NAMES, 8)
    assert streamed.labels.equal(labels)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).to(device)
    compute = Compute(device, False)
    resident = ResidentImages(pixels, labels, NAMES).to(device)
    found = correct(network, streamed, compute)
    assert found.equal(correct(network, resident, compute))


def test_throughput_is_measured(task, tmp_path):
    source = saved(fitted("hello", QUICK["hello"], task), tmp_path / "artefact")
    learner = student.build(NETWORK, source, seed=1)
    with quick_clock():
        timings = throughput.measure(learner, source, student.optimisation(RECIPE, source))
    assert min(timings.bare_step + timings.step + timings.targets) > 0
    assert timings.floor


OPTIONS = {
    "sre2l": {"iterations": 3, "crop_low": 0.5, "roll": 1},
    "lpld": {"iterations": 3, "crop_low": 0.5, "roll": 1},
    "rded": {"candidates": 4},
    "refined": {"steps": 2},
}


@pytest.mark.parametrize("name", list(OPTIONS))
def test_images_are_made(name, tmp_path, device):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    teacher = Teacher("small", nn.Sequential(*layers, nn.Linear(512, 10)), (0.4,), (0.3,))
    real = pictures(60)
    dataset = Dataset("random", real, real, (0.4,), (0.3,), mirror=False)
    source = image_source(name)
    base = pictures(40)
    base = ResidentImages(base.pixels, torch.arange(10).repeat_interleave(4), NAMES).to(device)
    taught = teacher.to(device).eval().requires_grad_(False)
    task = ImageTask(dataset, 1, 0, Compute(device, False), tmp_path, taught, base)
    images = source(source.Options(**OPTIONS[name])).make(task)
    assert len(images) == 10
    assert images.labels.tolist() == list(range(10))
