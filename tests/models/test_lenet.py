import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.core.errors import UserError
from benchmark.models import networks


@pytest.mark.parametrize(("name", "expected"), [("lenet", 62_006), ("alexnet", 1_756_426)])
def test_published_parameter_counts(name, expected):
    assert sum(p.numel() for p in networks.create(name, 10, 3, 32).parameters()) == expected


def test_lenet_sets_small_pictures_in_the_middle_of_zeros():
    torch.manual_seed(0)
    small = networks.create("lenet", 10, 1, 28)
    large = networks.create("lenet", 10, 1, 32)
    large.load_state_dict(small.state_dict())
    pixels = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(small(pixels), large(F.pad(pixels, (2, 2, 2, 2))))


@pytest.mark.parametrize("name", ["lenet", "alexnet"])
@pytest.mark.parametrize("resolution", [7, 8, 29, 33, 64])
def test_other_resolutions(name, resolution):
    network = networks.create(name, 7, 3, resolution)
    assert network(torch.rand(2, 3, resolution, resolution)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("lenet", 84),
        ("alexnet", 192),
        ("convnet-d3-w16", 16),
        ("resnet20", 64),
        ("resnet18", 512),
        ("mobilenetv2", 1280),
        ("shufflenetv2", 1024),
        ("deit-tiny", 192),
        ("swin-tiny", 768),
    ],
)
def test_features_before_the_last_layer(name, width):
    torch.manual_seed(0)
    network = networks.create(name, 7, 1, 8).eval()
    last = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
    pixels = torch.rand(2, 1, 8, 8)
    logits = network(pixels)
    assert networks.headless(network, 7) == width
    torch.testing.assert_close(last(network(pixels)), logits)


def test_a_network_without_a_last_linear_layer():
    with pytest.raises(UserError, match="does not end in a linear layer of 7 classes"):
        networks.headless(nn.Sequential(nn.Conv2d(1, 7, 8), nn.Flatten()), 7)
    with pytest.raises(UserError, match="does not end in a linear layer of 7 classes"):
        networks.headless(nn.Sequential(nn.Linear(4, 9), nn.ReLU()), 7)
