"""timm's ResNets; small images get a 3x3 stem of stride 1 and no max-pooling."""

from torch import nn

from ..network_family import NetworkFamily
from ._images import SMALL


class ResNets(NetworkFamily):
    """ResNets of 18, 50 and 101 layers."""

    names = {
        "resnet18": "ResNet of basic blocks, 11.2 M parameters",
        "resnet50": "ResNet of bottleneck blocks, 23.5 M parameters",
        "resnet101": "ResNet of bottleneck blocks, 42.5 M parameters",
    }

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        import timm  # takes seconds, and finished runs need none of it

        network = timm.create_model(name, num_classes=classes, in_chans=channels)
        if resolution <= SMALL:
            network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
            network.maxpool = nn.Identity()  # type: ignore[assignment]
        return network
