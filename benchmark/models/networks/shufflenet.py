"""torchvision's ShuffleNetV2; small images get a stem of stride 1 and no max-pooling."""

from torch import nn

from ..network_family import NetworkFamily
from ._images import SMALL


class ShuffleNets(NetworkFamily):
    """ShuffleNetV2."""

    names = {"shufflenetv2": "ShuffleNetV2 of width 1.0, 1.3 M parameters"}

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        from torchvision.models import shufflenet_v2_x1_0  # takes seconds

        network = shufflenet_v2_x1_0(num_classes=classes)
        small = resolution <= SMALL
        network.conv1[0] = nn.Conv2d(channels, 24, 3, 1 if small else 2, padding=1, bias=False)
        if small:
            network.maxpool = nn.Identity()  # type: ignore[assignment]
        return network
