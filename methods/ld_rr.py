"""LD-RR: labels learned through ridge regression on a network's features, in closed form.

Flexible Dataset Distillation (arXiv 2006.08572), the ridge-regression variant, within one
dataset. As in the authors' code, but for what `ld` lists; the closed form of the labels'
gradient replaces a backward pass over the real images, whose result that code throws away.
Students train on the labels as on any others, not by regression.
"""

from dataclasses import dataclass

from torch import nn

from benchmark.labels.label_learning.method import LearnedLabels
from benchmark.labels.label_learning.ridge import Ridge
from benchmark.labels.label_learning.run import Make
from benchmark.labels.label_learning.settings import Learning
from benchmark.labels.task import LabelTask
from benchmark.models import networks
from benchmark.models.classifier import Classifier


@dataclass(frozen=True)
class Options(Learning):
    """How labels are learned (see `Learning`) and shipped (see `ImageLabels`).

    Attributes:
        ridge: the regression's penalty (the paper's lambda).
    """

    ridge: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ridge > 0:
            raise ValueError(f"ridge must be positive, got {self.ridge}")


class LDRR(LearnedLabels[Options]):
    """Probabilities of each image, learned by differentiating a ridge regression."""

    title = "LD-RR"
    paper = "Bohdal, Yang and Hospedales, Flexible Dataset Distillation, arXiv 2006.08572, 2020"
    through_real = False

    @classmethod
    def learner(cls, task: LabelTask, options: Options) -> Make:
        def make(network: nn.Module) -> Ridge:
            width = networks.headless(network, task.classes)
            return Ridge(
                Classifier(network, task.mean, task.std, task.whitening).to(task.device),
                width,
                task.classes,
                options.ridge,
                options.network_optimiser,
                options.network_lr,
            )

        return make
