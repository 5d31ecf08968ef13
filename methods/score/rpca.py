"""Robust PCA: a matrix as a low-rank one and a sparse one, of many matrices at once."""

import torch
from torch import Tensor

ROUNDS = 100
# Of the penalty, from round to round. At 1.5, as Lin, Chen and Ma have it, a third of random 40 x
# 30 matrices of rank 2 end beside the least sum; so a tenth do.
GROWTH = 1.2
TOLERANCE = 1e-7  # of what is left over, as a share of the matrix
LEAST = 1e-12  # in place of the norms of empty matrices


def robust_pca(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Principal component pursuit: the low-rank and the sparse part of each matrix.

    The sum of the low-rank part's singular values plus 1 / sqrt(max(m, n)) times that of the
    sparse one's magnitudes is least, where both add up to the matrix (Candès et al., Robust
    Principal Component Analysis?, 2011); found by the inexact augmented Lagrange multiplier
    method (Lin, Chen and Ma, arXiv 1009.5055, algorithm 5). It ends when every matrix is met to
    `TOLERANCE`, or after `ROUNDS`.

    Args:
        matrices: float64 (N, m, n).

    Returns:
        Both parts, float64 (N, m, n).
    """
    weight = max(matrices.shape[1:]) ** -0.5
    norm = matrices.norm(dim=(1, 2), keepdim=True).clamp_min(LEAST)
    strongest = _spectral_norm(matrices).clamp_min(LEAST)
    highest = matrices.abs().amax((1, 2), keepdim=True)
    dual = matrices / torch.maximum(strongest, highest / weight)
    penalty = 1.25 / strongest
    most = penalty * 1e7
    low, sparse = torch.zeros_like(matrices), torch.zeros_like(matrices)
    for _ in range(ROUNDS):
        low = _shrunk_spectrum(matrices - sparse + dual / penalty, 1 / penalty)
        rest = matrices - low + dual / penalty
        sparse = rest.sign() * (rest.abs() - weight / penalty).clamp_min(0)
        gap = matrices - low - sparse
        if (gap.norm(dim=(1, 2), keepdim=True) <= TOLERANCE * norm).all():
            break
        dual = dual + penalty * gap
        penalty = torch.minimum(GROWTH * penalty, most)
    return low, sparse


def factors(matrices: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best approximation of each matrix by so many terms, as two factors.

    Args:
        matrices: float64 (N, m, n).
        rank: terms, at most min(m, n).

    Returns:
        Left factors (N, m, rank) and right ones (N, rank, n), whose product it is; a term's
        singular value is shared by both alike.
    """
    wide = matrices.shape[1] < matrices.shape[2]
    tall = matrices.mT if wide else matrices
    vectors = torch.linalg.eigh(tall.mT @ tall).eigenvectors[:, :, -rank:].flip(2)
    scores = tall @ vectors
    root = scores.norm(dim=1, keepdim=True).sqrt()
    left, right = scores / root.clamp_min(LEAST), (vectors * root).mT
    return (right.mT, left.mT) if wide else (left, right)


def _spectral_norm(matrices: Tensor) -> Tensor:
    """Of each matrix its largest singular value, (N, 1, 1)."""
    values = torch.linalg.eigvalsh(_gram(matrices))
    return values[:, -1:, None].clamp_min(0).sqrt()


def _shrunk_spectrum(matrices: Tensor, by: Tensor) -> Tensor:
    """The matrices with singular values less by `by` (N, 1, 1), and those below it gone.

    Through the smaller Gram matrix, which is faster than a singular value decomposition.
    """
    values, vectors = torch.linalg.eigh(_gram(matrices))
    values = values.clamp_min(0).sqrt()[:, None]
    kept = (1 - by / values.clamp_min(LEAST)).clamp_min(0)
    projector = (vectors * kept) @ vectors.mT
    return projector @ matrices if matrices.shape[1] < matrices.shape[2] else matrices @ projector


def _gram(matrices: Tensor) -> Tensor:
    """The product of each matrix and itself along its longer side, (N, s, s)."""
    if matrices.shape[1] < matrices.shape[2]:
        return matrices @ matrices.mT
    return matrices.mT @ matrices
