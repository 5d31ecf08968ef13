"""Benchmarks of the hot path: `pytest tests/test_speed.py --benchmark-enable`.

Without that option each runs once, as a test of its result. `python tests/compare_speed.py BEFORE
AFTER` runs them on two commits in turn.
"""

import warnings

import pytest
import torch
import torch.nn.functional as F
from tiny import DESCRIBED
from torch.func import functional_call

from benchmark.data.rendering import render
from benchmark.data.views import Augmentation, ViewPlan
from benchmark.labels import artefact
from benchmark.labels.label_learning.learner import soft_cross_entropy
from benchmark.labels.label_learning.ridge import Ridge
from benchmark.labels.label_learning.second_order import SecondOrder
from benchmark.labels.packing import pack, unpack
from benchmark.labels.reuse import calibrated
from benchmark.methods.lpqld.coding import CodedLabels, CodedWriter, Coding
from benchmark.models import networks

PLAN = ViewPlan(0, 1000, 32, 100, 10, Augmentation())


def test_sampling_views(benchmark):
    views = benchmark(PLAN.batch, 0, 3)
    assert len(views) == 100


def test_rendering_views(benchmark):
    images = torch.randint(0, 256, (1000, 3, 32, 32), dtype=torch.uint8)
    pixels = benchmark(render, images, PLAN.batch(0, 0))
    assert pixels.shape == (100, 3, 32, 32)


def test_packing_class_indices(benchmark):
    indices = torch.arange(128 * 100) % 1000
    packed = benchmark(pack, indices, 10)
    assert len(packed) == 128 * 100 * 10 // 8
    assert torch.equal(unpack(packed, 10, 0, len(indices)), indices)


def test_unpacking_class_indices(benchmark):
    indices = torch.arange(128 * 100) % 1000
    found = benchmark(unpack, pack(indices, 10), 10, 0, len(indices))
    assert torch.equal(found, indices)


def test_coding_labels(benchmark, tmp_path):
    logits = torch.randn(128, 1000).half()
    writer = CodedWriter(Coding(1000, "mr", 100, "fp16", 1.0, 20.0), tmp_path)
    benchmark(writer.add, logits)
    labels = writer.labels()
    found = labels.logits(slice(0, 128), torch.device("cpu"))
    kept = logits.float().topk(100, 1)
    assert torch.equal(found.gather(1, kept.indices), kept.values)


def test_decoding_labels(benchmark, tmp_path):
    logits = torch.randn(256, 1000).half()
    writer = CodedWriter(Coding(1000, "mr", 100, "int8", 1.0, 20.0), tmp_path)
    writer.add(logits)
    found = benchmark(writer.labels().logits, slice(128, 256), torch.device("cpu"))
    kept = logits[128:].float().topk(100, 1)
    below = kept.values - kept.values[:, :1]
    assert torch.allclose(found.gather(1, kept.indices), below, atol=0.02)


# The same labels, top 50 of 1,000 classes: from one of the authors' files a batch, and from ours.


TOP = Coding(1000, "mr", 50, "fp16", 1.0, 20.0)


@pytest.fixture(scope="module")
def top_labels(tmp_path_factory):
    """Our labels as a student has them, and the folder of files as the authors write them."""
    folder = tmp_path_factory.mktemp("labels")
    writer = CodedWriter(TOP, folder)
    for number in range(8):
        logits = torch.randn(128, 1000).half()
        writer.add(logits)
        kept = logits.float().topk(50, 1)
        mix = [torch.randperm(128), 0.3, [0, 0, 16, 16]]
        views = [torch.rand(128, 4).half(), torch.rand(128) > 0.5, *mix]
        parts = [*views, kept.values.half(), kept.indices.short()]
        torch.save(parts, folder / f"batch_{number}.tar")
    (folder / "ours").mkdir()
    artefact.write(folder / "ours", DESCRIBED, writer.labels().tensors())
    return from_disk(folder), folder


def from_disk(folder):
    """Our labels as a method loads them."""
    labels = CodedLabels(TOP, artefact.read(folder / "ours").tensors)
    labels.check(8 * 128)
    return labels.to(torch.device("cpu"))


def targets_of_a_file(file, temperature=14.0):
    """As the authors' loader makes them of a file of its own."""
    *_, values, indices = torch.load(file, weights_only=False)
    whole = torch.full((128, 1000), -torch.inf).scatter_(1, indices.long(), values.float())
    return F.softmax(whole / temperature, 1)


@pytest.mark.benchmark(group="reading")
def test_reading_a_batch_of_labels(benchmark, top_labels):
    labels, folder = top_labels
    rows, device = slice(3 * 128, 4 * 128), torch.device("cpu")
    found = benchmark(lambda: labels.top(rows, device).targets(1 / 14.0))
    torch.testing.assert_close(found.dense(), targets_of_a_file(folder / "batch_3.tar"))


@pytest.mark.benchmark(group="reading")
def test_reading_a_batch_of_official_labels(benchmark, top_labels):
    found = benchmark(targets_of_a_file, top_labels[1] / "batch_3.tar")
    assert found.shape == (128, 1000)


@pytest.mark.benchmark(group="a pass from disk")
def test_reading_all_labels_from_disk(benchmark, top_labels):
    """Checksums and unpacking too."""
    folder, device = top_labels[1], torch.device("cpu")

    def one_pass():
        artefact._known.clear()
        labels = from_disk(folder)
        return [labels.top(slice(n * 128, n * 128 + 128), device).targets(0.1) for n in range(8)]

    assert len(benchmark(one_pass)) == 8


@pytest.mark.benchmark(group="a pass from disk")
def test_reading_all_official_labels_from_disk(benchmark, top_labels):
    files = [top_labels[1] / f"batch_{number}.tar" for number in range(8)]
    assert len(benchmark(lambda: [targets_of_a_file(file) for file in files])) == 8


def test_calibrating_a_student(benchmark):
    logits = torch.randn(128, 1000)
    memory = {"epoch": torch.tensor(0), "logits": logits, "targets": (2 * logits).softmax(1)}
    found = benchmark(lambda: calibrated(dict(memory), logits, logits, 1))
    assert found.item() == 0.5


# One step of learning labels, and the same step by full backward passes, as the authors' code
# takes it: LeNet, 50 of 100 CIFAR-size images, 256 real ones.


@pytest.fixture
def lesson():
    torch.manual_seed(0)
    last = torch.channels_last
    images = torch.rand(50, 3, 32, 32).to(memory_format=last)
    real = torch.rand(256, 3, 32, 32).to(memory_format=last)
    return images, torch.rand(50, 10).softmax(1), real, torch.arange(256) % 10


def ours(learner, lesson):
    images, labels, real, truth = lesson
    inner = learner.inner(images[None], labels[None])
    outer = learner.outer(inner, real, truth)
    learner.move(inner, labels[None])
    return outer.gradient[0]


@pytest.mark.benchmark(group="LD")
def test_a_step_of_ld(benchmark, lesson):
    network = networks.create("lenet", 10, 3, 32)
    learner = SecondOrder(network, 0.01, 1, "sgd", 0.0)
    found = benchmark(ours, learner, lesson)
    assert torch.allclose(found, ld_in_full(network, lesson), atol=1e-9)


@pytest.mark.benchmark(group="LD")
def test_a_step_of_ld_in_full(benchmark, lesson):
    network = networks.create("lenet", 10, 3, 32)
    assert benchmark(ld_in_full, network, lesson).shape == (50, 10)


def ld_in_full(network, lesson):
    images, labels, real, truth = lesson
    labels = labels.clone().requires_grad_()
    loss = soft_cross_entropy(network(images), labels)
    weights = dict(network.named_parameters())
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    moved = {n: w - 0.01 * s for (n, w), s in zip(weights.items(), slopes, strict=True)}
    outer = F.cross_entropy(functional_call(network, moved, (real,)), truth)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "grad and param do not obey")  # channels lie last
        outer.backward(retain_graph=True)
    torch.autograd.grad(loss, list(network.parameters()))  # for the network's own step
    return labels.grad


@pytest.mark.benchmark(group="LD-RR")
def test_a_step_of_ld_rr(benchmark, lesson):
    network = networks.create("lenet", 10, 3, 32)
    learner = Ridge(network, networks.headless(network, 10), 10, 1.0, "sgd", 1e-12)
    expected = ld_rr_in_full(network, learner.weights, lesson)
    assert torch.allclose(ours(learner, lesson), expected, rtol=1e-3, atol=1e-9)
    benchmark(ours, learner, lesson)


@pytest.mark.benchmark(group="LD-RR")
def test_a_step_of_ld_rr_in_full(benchmark, lesson):
    network = networks.create("lenet", 10, 3, 32)
    last = torch.zeros(networks.headless(network, 10) + 1, 10)
    assert benchmark(ld_rr_in_full, network, last, lesson).shape == (50, 10)


def ld_rr_in_full(network, last, lesson):
    images, labels, real, truth = lesson
    labels = labels.clone().requires_grad_()
    features = F.pad(network(images), (0, 1), value=1.0)
    local = features.T @ torch.linalg.inv(features @ features.T + torch.eye(50)) @ labels
    last = 0.99 * last + 0.01 * local
    outer = F.cross_entropy(F.pad(network(real), (0, 1), value=1.0) @ last, truth)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "grad and param do not obey")
        outer.backward(retain_graph=True)
    loss = soft_cross_entropy(features @ last, labels.detach())
    torch.autograd.grad(loss, list(network.parameters()))  # for the network's own step
    return labels.grad
