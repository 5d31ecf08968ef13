"""timm's Swin-Tiny, with windows of resolution / 32 patches as published, but at least 4.

Patches are 2x2 pixels up to 32 pixels a side, so that the last stage still sees 2x2 tokens, and
4x4 above.
"""

from torch import nn

from ..network_family import NetworkFamily
from ._images import require_whole_patches


class Swins(NetworkFamily):
    """Swin-Tiny."""

    names = {"swin-tiny": "Swin-Tiny, 27.5 M parameters"}

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        """The network with random weights.

        Raises:
            UserError: the images are not a whole number of patches wide.
        """
        import timm  # takes seconds, and finished runs need none of it

        patch = 2 if resolution <= 32 else 4
        require_whole_patches(name, patch, resolution)
        return timm.create_model(
            "swin_tiny_patch4_window7_224",
            num_classes=classes,
            in_chans=channels,
            img_size=resolution,
            patch_size=patch,
            window_size=max(4, resolution // 32),
        )
