"""A student whose last layer is solved for: ridge regression on the features that it learns.

The evaluator of LD-RR (Flexible Dataset Distillation, arXiv 2006.08572, section 3.2).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.device import Compute
from ..data.views import ViewBatch
from ..labels.contract import LabelSource
from ..labels.student import Student, untrained
from ..labels.task import LabelTask
from ..models import networks
from ..models.gradients import Batch
from ..models.ridge import moved, solve, with_one

RIDGE = 1.0  # the paper's lambda
# Adam's steps do not mind a constant factor of the gradient. So at the rate of all weights, the
# authors' 1e-3, a parameter times ten moves as at their rate for the scale, 1e-2.
SCALE_SHARE = 10.0


class RidgeStudent(Student):
    """Features that learn, and a last layer that is a moving average of ridge regressions.

    The features step on the cross-entropy of the targets, through the newest solution too. A
    scale learned with them calibrates the logits of a regression for that loss; it is left out
    of what the student answers, as in the authors' code: the classes are the same.

    Attributes:
        last: the last layer's moving average, (features + 1, classes); begins at zero.
    """

    last: Tensor

    def __init__(self, features: nn.Module, width: int, task: LabelTask) -> None:
        super().__init__(features, task, task.seed)
        self.scale_offset = nn.Parameter(torch.zeros(1))
        self.register_buffer("last", torch.zeros(width + 1, task.classes))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.features(pixels) @ self.last

    def features(self, pixels: Tensor) -> Tensor:
        """Of pixels (B, C, R, R), with a one for the bias, (B, features + 1)."""
        return with_one(super().forward(pixels).float())

    def batch(
        self, source: LabelSource, pixels: Tensor, targets: Any, views: ViewBatch, epoch: int
    ) -> Batch:
        """The cross-entropy with the targets as probabilities; also moves `last`.

        A loss that the source brings has no say: a regression has a loss of its own. Nor has an
        augmentation that follows normalisation: no such recipe asks for this evaluator.
        """
        return self.bare_batch(pixels, source.probabilities(targets), source.task.compute)

    def bare_batch(self, pixels: Tensor, labels: Tensor, compute: Compute) -> Batch:
        def features(rows: slice) -> Tensor:
            with compute.autocast():
                return self.features(pixels[rows])

        def loss(features: Tensor) -> Tensor:
            weights = moved(self.last, solve(features, labels, RIDGE)[0])
            self.last = weights.detach()
            scale = 1 + SCALE_SHARE * self.scale_offset
            return F.cross_entropy(features @ (scale * weights), labels)

        return Batch(len(pixels), features, loss)


def build(name: str, source: LabelSource, seed: int) -> RidgeStudent:
    """A student with the initial features of the network student of this name and seed.

    Raises:
        UserError: the network does not end in a linear layer.
    """
    task = source.task
    network = untrained(name, source, seed)
    width = networks.headless(network, task.classes)
    return task.compute.place(RidgeStudent(network, width, task))
