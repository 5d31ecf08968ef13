import math

import pytest
import torch
from torch import nn

from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.experiment.similarity import BATCH, within_class
from benchmark.models import networks
from benchmark.models.teachers import Teacher

CPU = Compute(torch.device("cpu"), bf16=False)


def likeness(vectors, labels, classes=3) -> float | None:
    """The figure of images whose features are `vectors` of two numbers in 0..255."""
    pixels = torch.tensor(vectors).byte()[:, :, None, None]
    images = ResidentImages(pixels, torch.tensor(labels), [str(c) for c in range(classes)])
    plane = nn.Linear(2, 2)
    nn.init.eye_(plane.weight)
    nn.init.zeros_(plane.bias)
    network = nn.Sequential(nn.Flatten(), plane, nn.Linear(2, classes))
    teacher = Teacher("plane", network, (0.0, 0.0), (1.0, 1.0)).eval().requires_grad_(False)
    return within_class(teacher, images, CPU)


def test_mean_over_pairs_then_over_classes():
    # Class 0 has angles 0, 45 and 90 degrees; class 1 twice the same direction.
    vectors = [[9, 0], [200, 200], [7, 7], [0, 3], [100, 100]]
    labels = [0, 0, 1, 0, 1]
    expected = ((2 * math.sqrt(0.5) + 0) / 3 + 1) / 2
    assert likeness(vectors, labels) == pytest.approx(expected, abs=1e-6)


def test_classes_of_one_image_do_not_count():
    assert likeness([[9, 0], [0, 9], [5, 5]], [0, 0, 1]) == pytest.approx(0, abs=1e-6)
    assert likeness([[9, 0], [0, 9]], [0, 2]) is None


def test_features_of_nothing_are_like_nothing():
    assert likeness([[0, 0], [9, 0]], [0, 0]) == 0


def test_more_images_than_a_batch():
    angles = torch.rand(BATCH + 3, generator=torch.Generator().manual_seed(0)) * math.pi / 2
    vectors = (torch.stack([angles.cos(), angles.sin()], 1) * 255).round()
    unit = nn.functional.normalize(vectors, dim=1)
    alike = unit @ unit.T
    count = len(unit)
    expected = (alike.sum() - alike.trace()) / (count * (count - 1))
    assert likeness(vectors.tolist(), [1] * count) == pytest.approx(expected.item(), abs=1e-5)


def test_feature_maps_are_compared_whole():
    """The last linear layer may be given more than a vector an image."""
    network = nn.Sequential(nn.Linear(8, 5))
    teacher = Teacher("rows", network, (0.0,), (1.0,)).eval().requires_grad_(False)
    pixels = torch.randint(0, 256, (4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images = ResidentImages(pixels.byte(), torch.zeros(4), ("a",))
    unit = nn.functional.normalize(pixels.float().flatten(1), dim=1)
    expected = ((unit @ unit.T).sum() - 4) / 12
    assert within_class(teacher, images, CPU) == pytest.approx(expected.item(), abs=1e-5)


def test_the_figure_of_a_real_network_is_plain():
    torch.manual_seed(0)
    teacher = Teacher("resnet20", networks.create("resnet20", 2, 1, 8), (0.4,), (0.3,)).eval()
    pixels = torch.randint(0, 256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images = ResidentImages(pixels.byte(), torch.tensor([0, 0, 0, 1, 1, 1]), ("a", "b"))
    found = within_class(teacher, images, CPU)
    assert isinstance(found, float)
    assert 0 < found < 1
    assert not teacher.network.linear._forward_pre_hooks  # type: ignore[union-attr]


def test_networks_without_a_linear_layer_are_refused():
    network = nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten())
    teacher = Teacher("conv", network, (0.4,), (0.3,))
    images = ResidentImages(torch.zeros(2, 1, 8, 8).byte(), torch.zeros(2), ("a", "b"))
    with pytest.raises(UserError, match="a Sequential, has no linear layer"):
        within_class(teacher, images, CPU)
