"""Differentiable siamese augmentation (DSA) of normalised pixels, as tests of fixed labels use it.

Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (ICML 2021): every
batch draws one kind of augmentation, and every image of it its own strength. Strengths are the
authors', and, as theirs, what leaves the picture is zero, the mean colour of normalised pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .recipe import Dsa
from .views import DSA, random_words, unit

DRAWS = 3  # numbers in 0..1 that an image needs, at most
SCALE, DEGREES, SHIFT, HOLE = 1.2, 15.0, 0.125, 0.5
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5


@dataclass(frozen=True)
class Siamese:
    """The augmentation of a student's batches; a pure function of (seed, epoch, batch).

    Attributes:
        kinds: of which each batch draws one; empty leaves pixels as they are.
        seed: of the draws.
    """

    kinds: tuple[Dsa, ...]
    seed: int

    def __call__(
        self,
        pixels: Tensor,
        epoch: int,
        batch: int,
        rows: slice = slice(None),
        size: int | None = None,
    ) -> Tensor:
        """Normalised `pixels` (B, C, R, R), augmented; differentiable.

        Args:
            rows: of a batch of `size`, where pixels are a part of it.
        """
        if not self.kinds:
            return pixels
        size = len(pixels) if size is None else size
        words = random_words(self.seed, epoch, batch, DSA, 1 + DRAWS * size)
        kind = self.kinds[int(unit(words[:1])[0] * len(self.kinds))]
        draws = torch.from_numpy(unit(words[1:])).float().view(DRAWS, -1)[:, rows]
        return AUGMENT[kind](pixels, draws.to(pixels.device, non_blocking=True))


def color(pixels: Tensor, draws: Tensor) -> Tensor:
    """Brightness, then saturation, then contrast."""
    bright, saturated, contrasted = draws[:, :, None, None, None]
    pixels = pixels + (bright - 0.5) * BRIGHTNESS
    grey = pixels.mean(1, keepdim=True)
    pixels = (pixels - grey) * (saturated * SATURATION) + grey
    level = pixels.mean((1, 2, 3), keepdim=True)
    return (pixels - level) * (contrasted + CONTRAST) + level


def crop(pixels: Tensor, draws: Tensor) -> Tensor:
    """Shifted by whole pixels, up to an eighth of the side either way."""
    side = pixels.shape[-1]
    most = int(side * SHIFT + 0.5)
    down, right = ((draws[:2] * (2 * most + 1)).floor().long() - most)[:, :, None]
    at = torch.arange(side, device=pixels.device)
    rows, columns = at + down, at + right
    padded = F.pad(pixels, (most,) * 4)
    image = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    shifted = padded.permute(0, 2, 3, 1)[
        image, (rows + most)[:, :, None], (columns + most)[:, None]
    ]
    return shifted.permute(0, 3, 1, 2)


def cutout(pixels: Tensor, draws: Tensor) -> Tensor:
    """A square of half the side, centred anywhere, set to zero."""
    side = pixels.shape[-1]
    hole = int(side * HOLE + 0.5)
    low = (draws[:2] * (side + 1 - hole % 2)).floor()[:, :, None] - hole // 2
    at = torch.arange(side, device=pixels.device)
    rows, columns = (at >= low) & (at < low + hole)
    return pixels.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def flip(pixels: Tensor, draws: Tensor) -> Tensor:
    """Mirrored, every other image."""
    return torch.where(draws[0, :, None, None, None] < 0.5, pixels.flip(3), pixels)


def scale(pixels: Tensor, draws: Tensor) -> Tensor:
    """Shrunk or enlarged, each way by itself."""
    factors = draws[:2] * (SCALE - 1 / SCALE) + 1 / SCALE
    theta = pixels.new_zeros(len(pixels), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = factors[0], factors[1]
    return _mapped(pixels, theta)


def rotate(pixels: Tensor, draws: Tensor) -> Tensor:
    """Turned by up to 15 degrees either way."""
    angle = (draws[0] - 0.5) * 2 * math.radians(DEGREES)
    theta = pixels.new_zeros(len(pixels), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos()
    theta[:, 1, 0] = angle.sin()
    theta[:, 0, 1] = -angle.sin()
    return _mapped(pixels, theta)


def _mapped(pixels: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


AUGMENT: dict[Dsa, Callable[[Tensor, Tensor], Tensor]] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}
