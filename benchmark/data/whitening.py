"""ZCA whitening: pixels turned so that over the training set they are uncorrelated.

As tests of distilled images on CIFAR apply it (kornia's `ZCAWhitening` with `eps` 0.1): pixels in
0..1, less their mean, times U (S + eps)^-1/2 U' of their covariance U S U'.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.errors import UserError
from ..core.progress import track
from .images import Images

EPS = 0.1
FILE = "whitening.safetensors"
MOST = 2**14  # numbers of an image: the matrix has the square of it


@dataclass(frozen=True)
class Whitening:
    """The map.

    Attributes:
        mean: float32 (D,), D = channels x side x side.
        matrix: symmetric, float32 (D, D).
    """

    mean: Tensor
    matrix: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """Whitened `pixels` (B, C, R, R) in 0..1, on the map's device."""
        return ((pixels.flatten(1) - self.mean) @ self.matrix).view_as(pixels)


@torch.no_grad()
def write_whitening(images: Images, folder: Path) -> None:
    """Measure the map on all of `images`, and keep it in `folder`.

    Raises:
        UserError: the images are too large for a matrix of their pixels.
    """
    size = images.channels * images.resolution**2
    if size > MOST:
        raise UserError(
            f"Images of {size:,} numbers are too large to be whitened; {MOST:,} are the most."
        )
    total, products = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size)
    # About 0.5, so that single precision holds the sums.
    for rows in track(torch.arange(len(images)).split(1000), "whiten"):
        block = images.take(rows).cpu().float().flatten(1) / 255 - 0.5
        total += block.double().sum(0)
        products += block.T @ block
    mean = total / len(images)
    covariance = products.double() / len(images) - mean.outer(mean)
    covariance *= len(images) / max(1, len(images) - 1)
    values, vectors = torch.linalg.eigh(covariance.float())
    matrix = vectors * (values.clamp_min(0) + EPS).rsqrt() @ vectors.T
    parts = {"mean": (mean + 0.5).float(), "matrix": matrix.contiguous()}
    save_file(parts, folder / FILE)


def read_whitening(folder: Path, device: torch.device) -> Whitening:
    """The map that lies in `folder`."""
    return Whitening(**load_file(folder / FILE, device=str(device)))
