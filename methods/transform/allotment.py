"""How a budget is shared out at many classes: rows of the basis, finer labels, or more of them.

At up to `USUAL_DIMS` classes the basis has all directions, and the step goes by the number of
labels alone (`coded_views`). Of more classes a row of the basis takes as much as many labels, and
what directions that are left out hold is lost of every label. So numbers of directions and steps
are tried together on a sample of the labels. Each leaves room for so many labels with such an
error; the pair with the least is taken, over all images: one without a label has an error of 1.
From a label an image on, twice as many count as much as `DOUBLING` of the error.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.data.views import ViewBatch
from benchmark.labels.directions import most_dims
from benchmark.labels.label_basis import centred, power_of, span
from benchmark.labels.view_kernel import ViewKernel
from benchmark.labels.water_filling import filled

from .coder import unpredicted
from .options import Options

TRIED = tuple(0.075 * 2 ** (half / 2) for half in range(16, -1, -1))  # steps: 19.2 to 0.075
# Share of the labels' power that twice as many labels are worth: on CIFAR-10, in 4 kB, 1,000
# labels at 0.8 % of squared error taught what 1,850 at 2.8 % did (results/FINDINGS.md).
DOUBLING = 0.02


def allotted(
    labels: Sequence[tuple[ViewBatch, Tensor]],
    kernel: ViewKernel | None,
    options: Options,
    images: int,
    most: int,
) -> tuple[int, float]:
    """Directions and step for labels in `options.bytes`, code and basis together.

    Args:
        labels: a sample, views and logits (B, C) of the plan's batches, from its first on.
        images: how many there are.
        most: labels that are worth their bytes, at most.
    """
    logits = centred(torch.cat([rows for _, rows in labels]))
    classes, power = logits.shape[1], power_of(logits)
    coefficients = logits @ span(logits, most_dims(classes, options.bytes)) / power
    rest = unpredicted(labels, coefficients, kernel)
    steps = [options.step] if options.step else TRIED
    # A label that lacks a direction lacks what could be predicted of it, too.
    lost = coefficients.square().mean(0)
    weights = rest.new_full((len(rest), 1), 1 / len(rest))
    bits, saved = filled([(rest, weights)], lost, steps, options.rounding)
    basis = classes * torch.arange(1, bits.shape[1] + 1)
    count = 8 * (options.bytes - basis) / bits.clamp_min(1e-9)
    each = count.clamp(max=most) / images
    worth = saved / classes * each.clamp(max=1) + DOUBLING * each.clamp(min=1).log2()
    step, dims = divmod(int(worth.argmax()), bits.shape[1])
    return dims + 1, steps[step]
