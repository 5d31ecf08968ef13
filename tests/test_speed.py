"""Benchmarks of the hot path: `pytest tests/test_speed.py --benchmark-enable`.

Without that option each runs once, as a test of its result.
"""

import torch

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
