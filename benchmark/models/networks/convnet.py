"""The ConvNet of dataset distillation: the student most distilled sets are made for and judged by.

Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting" (CVPR 2018), with the
instance normalisation of Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021).
"""

import re
from collections.abc import Callable

from torch import Tensor, nn

from ...core.errors import UserError
from ..network_family import NetworkFamily


class ConvNets(NetworkFamily):
    """ConvNets of any depth and width."""

    names = {
        "convnet-d3": "3-block ConvNet of width 128 with instance norm; or: convnet-d5-w32",
        "convnet-d3-bn": "with batch norm, as RDED's; or: convnet-d3-w32-bn",
        "convnet-d3-gn": "with group norm, 4 groups",
        "convnet-d4": "4-block ConvNet of width 128, the usual one for 64x64 images",
    }
    pattern = r"convnet-d(?P<depth>[1-9]\d*)(?:-w(?P<width>[1-9]\d*))?(?:-(?P<norm>bn|gn))?"
    most = {"depth": 9, "width": 1024}

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        """The network with random weights.

        Raises:
            UserError: the images are too small to be halved so often.
        """
        match = re.fullmatch(self.pattern, name)
        assert match is not None
        depth, width, norm = match["depth"], match["width"] or "128", match["norm"] or "in"
        return ConvNet(int(depth), int(width), NORMS[norm], classes, channels, resolution)


class ConvNet(nn.Module):
    """Blocks of convolution, norm, ReLU and average pooling, then one linear layer.

    Each block halves the image, dropping an odd row and column; torch's default initial weights.

    Args:
        depth: number of blocks.
        width: channels of every block.
        norm: makes the norm of so many channels.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        norm: Callable[[int], nn.Module],
        classes: int,
        channels: int,
        resolution: int,
    ) -> None:
        super().__init__()
        side = resolution >> depth
        if side == 0:
            raise UserError(
                f"convnet-d{depth} halves its images {depth} times: they must be at least "
                f"{2**depth} pixels a side, not {resolution}."
            )
        blocks = []
        for block in range(depth):
            blocks += [
                nn.Conv2d(width if block else channels, width, 3, padding=1),
                norm(width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Linear(width * side * side, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of normalised pixels (B, channels, resolution, resolution)."""
        return self.classifier(self.features(pixels).flatten(1))


class InstanceNorm(nn.GroupNorm):
    """Instance norm, that is group norm with one channel a group.

    Its input is laid out channel by channel first: before torch 2.15 the forward derivative of
    torch's group norm takes no other layout.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of (B, channels, H, W), alike."""
        return super().forward(input.contiguous())


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "in": lambda width: InstanceNorm(width, width),
    "bn": nn.BatchNorm2d,
    "gn": lambda width: nn.GroupNorm(4, width),
}
