"""A last layer by ridge regression, and its moving average over batches.

Flexible Dataset Distillation (arXiv 2006.08572), section 3.2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SHARE = 0.01  # of the newest solution in the moving average


def with_one(features: Tensor) -> Tensor:
    """Features (n, d) with a one for the bias, (n, d + 1)."""
    return F.pad(features, (0, 1), value=1.0)


def solve(features: Tensor, labels: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The last layer F^T (F F^T + ridge I)^-1 Y; gradients pass.

    Features grow as they learn, and in single precision a ridge of 1 is soon lost beside them;
    so what is inverted is reckoned in double.

    Args:
        features: F, (..., n, d + 1).
        labels: Y, (..., n, C).
        ridge: above 0; the bias is shrunk like the rest.

    Returns:
        The layer (..., d + 1, C), and the Cholesky factor of what was inverted, (..., n, n), in
        double precision.
    """
    exact = features.double()
    gram = exact @ exact.mT
    gram.diagonal(dim1=-2, dim2=-1).add_(ridge)
    root = torch.linalg.cholesky_ex(gram).L
    solution = exact.mT @ torch.cholesky_solve(labels.double(), root)
    return solution.to(features.dtype), root


def moved(average: Tensor, solution: Tensor) -> Tensor:
    """The moving average of last layers, with the newest one in it."""
    return (1 - SHARE) * average + SHARE * solution
