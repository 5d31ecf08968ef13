"""LD: labels learned through a gradient step on them, so that the network does well after it.

Flexible Dataset Distillation (arXiv 2006.08572), second order, within one dataset. Images stay;
labels begin even, whatever the images' own, so a class without images is no hindrance. As in
the authors' code, but for this:

- the gradient for the labels is one forward derivative, not a second backward pass: equal, and
  cheaper.
- labels and their number of steps are chosen on a tenth of the training images kept apart, also
  after the last epoch, however few there are (under five the authors' code fails). None of them
  is a distilled image (there some are); those may be among the images learned from.
- a row that clamps to zeros stays as it was (there it divides by zero).
- `learners`: several networks in turn, where labels are to serve more than one.
- batch normalisation: the batch's own statistics while learning; its running ones, moved by the
  distilled images alone, on held-out images (there the batch's own again).
- students train as the recipe says, on views; the steps chosen here are noted, not imposed.
"""

from dataclasses import dataclass

import torch
from torch import nn

from benchmark.labels.label_learning.method import LearnedLabels
from benchmark.labels.label_learning.real import as_input
from benchmark.labels.label_learning.run import Make
from benchmark.labels.label_learning.second_order import SecondOrder, require_differentiable
from benchmark.labels.label_learning.settings import Learning
from benchmark.labels.task import LabelTask
from benchmark.models import networks
from benchmark.models.classifier import Classifier


@dataclass(frozen=True)
class Options(Learning):
    """How labels are learned (see `Learning`) and shipped (see `ImageLabels`).

    Attributes:
        inner_lr: of the virtual gradient steps (the paper's alpha).
        inner_steps: virtual steps ahead; the authors' code has one. The network itself
            takes one real step, on the first one's images.
    """

    inner_lr: float = 0.01
    inner_steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inner_lr > 0:
            raise ValueError(f"inner_lr must be positive, got {self.inner_lr}")
        if self.inner_steps < 1:
            raise ValueError(f"inner_steps must be at least 1, got {self.inner_steps}")


class LD(LearnedLabels[Options]):
    """Probabilities of each image, learned by differentiating through gradient steps."""

    paper = "Bohdal, Yang and Hospedales, Flexible Dataset Distillation, arXiv 2006.08572, 2020"
    through_real = True

    @classmethod
    def learner(cls, task: LabelTask, options: Options) -> Make:
        images = task.images
        for name in options.learners:
            network = networks.create(name, task.classes, images.channels, images.resolution)
            require_differentiable(network, name, as_input(images.pixels[:2], torch.device("cpu")))

        def make(network: nn.Module) -> SecondOrder:
            return SecondOrder(
                Classifier(network, task.mean, task.std, task.whitening).to(task.device),
                options.inner_lr,
                options.inner_steps,
                options.network_optimiser,
                options.network_lr,
            )

        return make
