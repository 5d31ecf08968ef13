"""A network that takes pixels in 0..1; what students and teachers have in common."""

import torch
from torch import Tensor, nn

from ..core.device import Compute
from ..data.images import Images
from ..data.whitening import Whitening

Floats = tuple[float, ...]


class Classifier(nn.Module):
    """A network behind the normalisation of its input.

    Args:
        mean, std: per channel, of pixels in 0..1.
        whitening: in place of them.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self, network: nn.Module, mean: Floats, std: Floats, whitening: Whitening | None = None
    ) -> None:
        super().__init__()
        self.whitening = whitening
        self.network = network
        self.mean, self.std = mean, std
        self.register_buffer("_mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of pixels (B, C, R, R)."""
        return self.network(self.normalised(pixels))

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the network is shown of pixels (B, C, R, R)."""
        if self.whitening is not None:
            return self.whitening(pixels)
        return (pixels - self._mean) / self._std


def at_once(device: torch.device) -> int:
    """Images that are classified at once there: on a CPU, what its cache and heap hold."""
    return 50 if device.type == "cpu" else 500


@torch.no_grad()
def predicted(
    classifier: nn.Module, images: Images, compute: Compute, chosen: Tensor | None = None
) -> Tensor:
    """The class that the classifier gives each of the chosen images, or all, int64 on the CPU."""
    classifier.eval()
    found = []
    rows = torch.arange(len(images)) if chosen is None else chosen
    for block in images.batches(rows.split(at_once(compute.device))):
        pixels = block.to(compute.device, non_blocking=True).float() / 255
        with compute.autocast():
            found.append(classifier(pixels).argmax(1))
    return torch.cat(found).cpu()


def correct(classifier: nn.Module, test: Images, compute: Compute) -> Tensor:
    """Which test images the classifier gets right, bool (N,) on the CPU."""
    return predicted(classifier, test, compute) == test.labels
