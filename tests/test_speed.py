"""Benchmarks of the hot path: `pytest tests/test_speed.py --benchmark-enable`.

Without that option each runs once, as a test of its result.
"""

import torch

from benchmark.methods.lpqld.coding import CodedSpool, Coding
from benchmark.methods.lpqld.reuse import calibrated
from benchmark.packing import pack, unpack
from benchmark.render import render
from benchmark.views import Augmentation, ViewPlan

PLAN = ViewPlan(0, 1000, 32, 100, 10, Augmentation())


def test_sampling_views(benchmark):
    views = benchmark(PLAN.batch, 0, 3)
    assert len(views) == 100


def test_rendering_views(benchmark):
    images = torch.randint(0, 256, (1000, 3, 32, 32), dtype=torch.uint8)
    pixels = benchmark(render, images, PLAN.batch(0, 0))
    assert pixels.shape == (100, 3, 32, 32)


def test_unpacking_class_indices(benchmark):
    indices = torch.arange(128 * 100) % 1000
    found = benchmark(unpack, pack(indices, 10), 10, 0, len(indices))
    assert torch.equal(found, indices)


def test_coding_labels(benchmark, tmp_path):
    logits = torch.randn(128, 1000).half()
    spool = CodedSpool(Coding(1000, "mr", 100, "fp16", 1.0, 20.0), tmp_path)
    benchmark(spool.add, logits)
    labels = spool.labels()
    found = labels.logits(slice(0, 128), torch.device("cpu"))
    kept = logits.float().topk(100, 1)
    assert torch.equal(found.gather(1, kept.indices), kept.values)


def test_decoding_labels(benchmark, tmp_path):
    logits = torch.randn(256, 1000).half()
    spool = CodedSpool(Coding(1000, "mr", 100, "int8", 1.0, 20.0), tmp_path)
    spool.add(logits)
    found = benchmark(spool.labels().logits, slice(128, 256), torch.device("cpu"))
    kept = logits[128:].float().topk(100, 1)
    below = kept.values - kept.values[:, :1]
    assert torch.allclose(found.gather(1, kept.indices), below, atol=0.02)


def test_calibrating_a_student(benchmark):
    logits = torch.randn(128, 1000)
    memory = {"epoch": torch.tensor(0), "logits": logits, "targets": (2 * logits).softmax(1)}
    found = benchmark(lambda: calibrated(dict(memory), logits, logits, 1))
    assert found.item() == 0.5
