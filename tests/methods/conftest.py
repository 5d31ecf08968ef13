from dataclasses import replace

import pytest
import torch
from tiny import tiny_task  # type: ignore[import-not-found]

from benchmark.data.images import ResidentImages
from benchmark.labels.task import LabelTask


@pytest.fixture
def task(tmp_path) -> LabelTask:
    """Twenty random 1 x 8 x 8 pictures of ten classes, four epochs in batches of at most 8."""
    return tiny_task(tmp_path / "scratch")


@pytest.fixture
def many_classes(tmp_path) -> LabelTask:
    """The same of a hundred classes, an image each; few directions have most of the power."""
    made = tiny_task(tmp_path / "scratch", images=100, batch_size=50, epochs=12)
    names = tuple(f"class {number:03}" for number in range(100))
    images = ResidentImages(made.images.pixels, torch.arange(100), names)
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(100, 64)).Q
    scores = torch.randn(64, 64) / (1 + torch.arange(64)[:, None])
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 100))
    teacher[1].weight.data = 3 * axes @ scores
    return replace(made, images=images, teacher=teacher.requires_grad_(False))
