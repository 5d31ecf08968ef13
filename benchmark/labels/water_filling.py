"""How many directions of labels are worth their bytes: reverse water-filling, with a price on each.

A squared error takes fewest bits where all coefficients are rounded to one step, and directions
that hold less than the step leaves are not kept (reverse water-filling: Cover and Thomas,
"Elements of Information Theory", 2nd edition, section 10.3.3). Here a direction also has a price,
its row of the basis; so steps and numbers of directions are tried together, on the labels that are
to be coded, and none is coded for it: what a coefficient takes is reckoned from its mean magnitude,
as the range coder's models have it.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def filled(
    rows: Iterable[tuple[Tensor, Tensor]], lost: Tensor, steps: Sequence[float], rounding: float
) -> tuple[Tensor, Tensor]:
    """What the first 1, 2, ... directions take and save at each step.

    Args:
        rows: what is rounded, in blocks of any number of rows: numbers, (n, D), a column a
            direction, and the weights of a row's squared errors, (n, 1).
        lost: squared error without a direction, (D,).
        rounding: what is added to a magnitude, in steps, before it is rounded down.

    Returns:
        Bits of a row, and squared error saved, float64 (S, D) each.
    """
    shape, count = (len(steps), len(lost)), 0
    means, wrong = lost.new_zeros(shape), lost.new_zeros(shape)
    for numbers, weights in rows:
        count += len(numbers)
        for place, step in enumerate(steps):
            sizes = (numbers.abs() / step + rounding).floor()
            means[place] += sizes.sum(0)
            wrong[place] += (weights * (numbers.abs() - sizes * step).square()).sum(0)
    return geometric_bits(means / count).cumsum(1), (lost - wrong).cumsum(1)


def geometric_bits(means: Tensor) -> Tensor:
    """Bits of a number whose distribution is two-sided geometric, by its mean magnitude.

    The distribution falls by a ratio r a step, and its mean is 2 r / (1 - r^2); see `range_coding`.
    """
    ratios = means / (1 + (1 + means.square()).sqrt())
    return -((1 - ratios) / (1 + ratios)).log2() - torch.special.xlogy(means, ratios) / math.log(2)
