"""Grids: one picture of many images, as torchvision's `save_image` lays them out class by class.

The codes of DC, DSA and MTT save what they distilled so, for people to look at; often it is all
that is published.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError
from .images import opened

PADDING = 2  # of `make_grid`; the line between pictures and around them


def read_grid(file: Path, classes: int, channels: int, side: int) -> tuple[Tensor, Tensor]:
    """The images of a grid, row by row, and their classes.

    Returns:
        uint8 (N, channels, side, side), and int64 (N,): as many of each class, class by class.

    Raises:
        UserError: it cannot be read, or holds no whole number of such images of each class.
    """
    with opened(file) as picture:
        pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    step = side + PADDING
    rows, columns = ((edge - PADDING) // step for edge in pixels.shape[:2])
    whole = (rows * step + PADDING, columns * step + PADDING) == pixels.shape[:2]
    count = rows * columns
    if not whole or not count or count % classes:
        raise UserError(
            f"{str(file)!r} is {pixels.shape[1]} x {pixels.shape[0]} pixels: no grid of pictures "
            f"of {side} pixels with lines of {PADDING} between them, as many of each of {classes} "
            "classes."
        )
    inner = pixels[PADDING:, PADDING:].reshape(rows, step, columns, step, channels)
    images = inner[:, :side, :, :side].transpose(0, 2, 4, 1, 3).reshape(count, channels, side, side)
    labels = torch.arange(classes).repeat_interleave(count // classes)
    return torch.from_numpy(np.ascontiguousarray(images)), labels
