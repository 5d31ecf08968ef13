"""Labels as few numbers: an orthonormal basis of the directions in which they differ."""

import torch
from torch import Tensor

LEAST_POWER = 1e-6


def centred(logits: Tensor) -> Tensor:
    """Logits (B, C) less their mean over the classes, which no softmax sees; float64."""
    logits = logits.double()
    return logits - logits.mean(1, keepdim=True)


def power_of(logits: Tensor) -> float:
    """Root mean square of centred logits (n, C), above 0."""
    return max(float(logits.square().mean().sqrt()), LEAST_POWER)


def span(logits: Tensor, dims: int) -> Tensor:
    """The directions in which centred logits (n, C) have most power, float64 (C, dims)."""
    return strongest(logits.T @ logits, dims)


def strongest(moment: Tensor, dims: int) -> Tensor:
    """The directions with most power of a second moment (C, C), float64 (C, dims)."""
    return torch.linalg.eigh(moment).eigenvectors[:, -dims:].flip(1)


def principal(rows: Tensor) -> Tensor:
    """The principal axes of rows (n, d), from the strongest on, float64 (d, d)."""
    return strongest(rows.T @ rows, rows.shape[1])


def shipped(axes: Tensor) -> Tensor:
    """Axes (C, dims) as int8 (dims, C), to be made orthonormal again by `orthonormal`."""
    rows = axes.T
    return (rows * 127 / rows.abs().amax(1, keepdim=True)).round().to(torch.int8)


def orthonormal(whole: Tensor) -> Tensor:
    """The orthonormal rows nearest to whole numbers (dims, C), float64; each has mean 0."""
    rows = whole.double()
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-9)
    left, _, right = torch.linalg.svd(rows, full_matrices=False)
    return left @ right
