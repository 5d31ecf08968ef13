"""Label smoothing: hard labels with a share spread evenly over the classes."""

from dataclasses import dataclass

from torch import Tensor

from benchmark.data.views import ViewBatch
from benchmark.labels.class_labels import ClassLabels


@dataclass(frozen=True)
class Options:
    """amount: the share that is spread over all classes, 0 to below 1."""

    amount: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.amount < 1:
            raise ValueError(f"amount must be in [0, 1), got {self.amount}")


class Smoothed(ClassLabels[Options]):
    """(1 - amount) x one-hot + amount / C."""

    title = "Smoothed labels"
    paper = "Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section 7"

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        amount = self.options.amount
        return (1 - amount) * self.task.hard_labels(views) + amount / self.task.classes
