"""INFER's static labels: the mean logits of teachers for each plain image, interpolated.

Zhang, Du, Liu and Zhou, "Breaking Class Barriers: Efficient Dataset Distillation via Inter-Class
Feature Compensator" (ICLR 2025, arXiv 2408.06927): each image is labelled once, without
augmentation; a mixed view's label is its images' logits, interpolated as its pixels are, and
softened at the temperature of the loss. After their code, but for this:

- images are the run's: their universal feature compensators, which make several images of one
  and save image bytes, are left out. So this is the label side of INFER alone.
- theirs is the mean of the networks that the images were distilled with (four); here of the one
  teacher, or with `teachers=trajectory` of snapshots along its training.
- temperature, mix and loss are the recipe's; theirs are 30 for CIFAR, Mixup of Beta(0.8, 0.8).
- logits are shipped as the probabilities that they give at the recipe's temperature, in the forms
  of `ImageLabels`: they tell logits up to a number for each image, which no softmax sees. The
  labels of `top-k` know no logits of the classes left out, so they are blended as probabilities.
- the last epoch's weights count; theirs are those that did best on the test set.

`expert` differs: its one teacher stopped early, and its probabilities at temperature 1.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from benchmark.core.needs import Needs
from benchmark.core.progress import track
from benchmark.core.work import Work
from benchmark.data.views import ViewBatch
from benchmark.labels.ensemble import Teachers, labelling, needs_of, taught_by
from benchmark.labels.image_labels import ImageLabelOptions, ImageLabels
from benchmark.labels.task import Amounts, LabelTask
from benchmark.labels.validation import BLOCK

LEAST = 1e-6  # stands for a probability stored as zero


@dataclass(frozen=True)
class Options(ImageLabelOptions):
    """Whose labels, and how they are shipped.

    Attributes:
        form, k: how labels are shipped; see `benchmark.labels.image_labels`.
        teachers: the `final` one, or the mean of weak ones along a `trajectory`.
    """

    teachers: Teachers = "final"


class Infer(ImageLabels[Options]):
    """Each image's logits, interpolated by the mix of each view.

    Attributes:
        labels: probabilities at the recipe's temperature, float32 (N, C).
    """

    title = "INFER"
    paper = "Zhang et al., INFER, ICLR 2025, arXiv 2408.06927"
    space = "logits"

    @classmethod
    def needs(cls, options: Options) -> Needs:
        return needs_of(options.teachers)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        return Work((labelling(options.teachers, amounts.shape.images, BLOCK, amounts),))

    @classmethod
    @torch.no_grad()
    def fit(cls, task: LabelTask, options: Options) -> Self:
        teacher, _, _ = taught_by(task, options.teachers).fitting()
        rows = []
        for pixels in track(task.images.pixels.split(BLOCK), "label the images"):
            with task.compute.autocast():
                logits = teacher(pixels.to(task.device).float() / 255)
            rows.append((logits.float() / task.objective.temperature).softmax(1))
        return cls(task, options, torch.cat(rows))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        """Logits, centred over the classes."""
        if self.options.form == "top-k":
            logs = self.task.mixed(self.labels, views).clamp_min(LEAST).log()
        else:
            logs = self.task.mixed(self.labels.clamp_min(LEAST).log(), views)
        return self.task.objective.temperature * (logs - logs.mean(1, keepdim=True))
