"""timm's MobileNetV2 and EfficientNet; on small images the stem keeps the resolution."""

from torch import nn

from ..network_family import NetworkFamily
from ._images import SMALL

TIMM_NAMES = {"mobilenetv2": "mobilenetv2_100", "efficientnet-b0": "efficientnet_b0"}


class MobileNets(NetworkFamily):
    """MobileNetV2 and EfficientNet-B0."""

    names = {
        "mobilenetv2": "MobileNetV2 of width 1.0, 2.2 M parameters",
        "efficientnet-b0": "EfficientNet-B0, 4.0 M parameters",
    }

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        import timm  # takes seconds, and finished runs need none of it

        network = timm.create_model(TIMM_NAMES[name], num_classes=classes, in_chans=channels)
        if resolution <= SMALL:
            network.get_submodule("conv_stem").stride = (1, 1)  # type: ignore[assignment]
        return network
