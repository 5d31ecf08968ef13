"""LeNet and the small AlexNet: the networks that label distillation was published with.

Sizes, activations and initial weights (torch's own) are those of the authors' code for "Flexible
Dataset Distillation: Learn Labels Instead of Images" (arXiv 2006.08572).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ..network_family import NetworkFamily

CANVAS = 32  # pixels a side that LeNet was made for


class LeNets(NetworkFamily):
    """LeNet and the small AlexNet."""

    names = {
        "lenet": "LeNet with ReLU and max-pooling, 0.06 M parameters",
        "alexnet": "AlexNet cut down for CIFAR: two convolutions of width 64, 1.8 M parameters",
    }

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        return (LeNet if name == "lenet" else AlexNet)(classes, channels, resolution)


class LeNet(nn.Module):
    """Two 5x5 convolutions with max-pooling and three linear layers; 62,006 weights on CIFAR-10.

    Smaller images stand in the middle of zeros, 32 pixels a side, as 28x28 digits always did.
    """

    def __init__(self, classes: int, channels: int, resolution: int) -> None:
        super().__init__()
        padding = max(0, -(-(CANVAS - resolution) // 2))
        side = ((resolution + 2 * padding - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of normalised pixels (B, channels, resolution, resolution)."""
        features = F.max_pool2d(F.relu(self.conv1(pixels)), 2)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(features)))))


class AlexNet(nn.Module):
    """Two 5x5 convolutions of width 64 with local response normalisation, three linear layers.

    1,756,426 weights on CIFAR-10. Each of two poolings halves the image, rounding up.
    """

    def __init__(self, classes: int, channels: int, resolution: int) -> None:
        super().__init__()
        side = -(-resolution // 4)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            _response_norm(),
            nn.Conv2d(64, 64, 5, padding=2),
            nn.ReLU(),
            _response_norm(),
            nn.MaxPool2d(3, 2, padding=1),
        )
        self.fc1 = nn.Linear(64 * side * side, 384)
        self.fc2 = nn.Linear(384, 192)
        self.fc3 = nn.Linear(192, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of normalised pixels (B, channels, resolution, resolution)."""
        features = self.features(pixels).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(features)))))


def _response_norm() -> nn.Module:
    return nn.LocalResponseNorm(4, alpha=0.001 / 9, beta=0.75, k=1.0)
