"""How many directions of labels are worth their bytes: reverse water-filling, with a price on each.

A squared error takes fewest bits where all coefficients are rounded to one step, and directions
that hold less than the step leaves are not kept (reverse water-filling: Cover and Thomas,
"Elements of Information Theory", 2nd edition, section 10.3.3). Here a direction also has a price,
its row of the basis; so steps and numbers of directions are tried together, on the labels that are
to be coded, and none is coded for it: what a coefficient takes is reckoned from its mean magnitude,
as the range coder's models have it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def filled(
    numbers: Tensor, weights: Tensor, lost: Tensor, steps: Sequence[float], rounding: float
) -> tuple[Tensor, Tensor]:
    """What the first 1, 2, ... directions take and save at each step.

    Args:
        numbers: what is rounded, (n, D), a column a direction.
        weights: of a row's squared errors, (n, 1).
        lost: squared error without a direction, (D,).
        rounding: what is added to a magnitude, in steps, before it is rounded down.

    Returns:
        Bits of a row, and squared error saved, float64 (S, D) each.
    """
    bits, saved = [], []
    for step in steps:
        sizes = (numbers.abs() / step + rounding).floor()
        bits.append(geometric_bits(sizes.mean(0)).cumsum(0))
        wrong = weights * (numbers.abs() - sizes * step).square()
        saved.append((lost - wrong.sum(0)).cumsum(0))
    return torch.stack(bits), torch.stack(saved)


def geometric_bits(means: Tensor) -> Tensor:
    """Bits of a number whose distribution is two-sided geometric, by its mean magnitude.

    The distribution falls by a ratio r a step, and its mean is 2 r / (1 - r^2); see `range_coding`.
    """
    ratios = means / (1 + (1 + means.square()).sqrt())
    return -((1 - ratios) / (1 + ratios)).log2() - torch.special.xlogy(means, ratios) / math.log(2)
