"""timm's DeiT-Tiny; small images are cut into patches of 4x4 pixels, not 16x16."""

from torch import nn

from ..network_family import NetworkFamily
from ._images import SMALL, require_whole_patches


class DeiTs(NetworkFamily):
    """DeiT-Tiny."""

    names = {"deit-tiny": "DeiT-Tiny without distillation token, 5.4 M parameters"}

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        """The network with random weights.

        Raises:
            UserError: the images are not a whole number of patches wide.
        """
        import timm  # takes seconds, and finished runs need none of it

        patch = 4 if resolution <= SMALL else 16
        require_whole_patches(name, patch, resolution)
        return timm.create_model(
            "deit_tiny_patch16_224",
            num_classes=classes,
            in_chans=channels,
            img_size=resolution,
            patch_size=patch,
        )
