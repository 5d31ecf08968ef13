"""The ResNets for CIFAR of He et al., "Deep Residual Learning" (CVPR 2016, section 4.2).

Parameter names, initial weights and shortcuts are those of
https://github.com/akamaster/pytorch_resnet_cifar10, so that its published weights load.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ..network_family import NetworkFamily


class CifarResNets(NetworkFamily):
    """ResNets for CIFAR, of 20 and 56 layers."""

    names = {
        "resnet20": "CIFAR ResNet with option-A shortcuts, 0.27 M parameters",
        "resnet56": "CIFAR ResNet with option-A shortcuts, 0.85 M parameters",
    }

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        """The network with random weights, for images of any resolution."""
        return CifarResNet((int(name.removeprefix("resnet")) - 2) // 6, classes, channels)


class Block(nn.Module):
    """Two convolutions and an option-A shortcut: no parameters, new channels are zero."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - channels_in) // 2  # on either side of the old channels

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        features = F.relu(self.bn1(self.conv1(features)))
        return F.relu(self.bn2(self.conv2(features)) + shortcut)


class CifarResNet(nn.Module):
    """Three stages of basic blocks with 16, 32 and 64 channels; takes any resolution.

    Args:
        blocks: in each stage; 3 make ResNet-20, 9 make ResNet-56.
    """

    def __init__(self, blocks: int, classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(blocks, 16, 16, stride=1)
        self.layer2 = stage(blocks, 16, 32, stride=2)
        self.layer3 = stage(blocks, 32, 64, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of normalised pixels (B, channels, R, R)."""
        features = F.relu(self.bn1(self.conv1(pixels)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.linear(features.mean((2, 3)))


def stage(blocks: int, channels_in: int, channels: int, stride: int) -> nn.Sequential:
    """`blocks` basic blocks, the first of which changes channels and resolution."""
    first = Block(channels_in, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(blocks - 1)))
