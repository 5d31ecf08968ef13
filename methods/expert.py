"""Expert: a teacher that was stopped early labels each image once, without augmentation.

Qin, Deng and Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation"
(NeurIPS 2024): on random real images such labels rival distilled ones; the fewer the images,
the earlier the best expert (theirs for CIFAR-10: epochs 20, 44 and 128 at IPC 1, 10 and 50).
How early is chosen here on held-out real training images: for each snapshot of a training, a
small student learns from its labels. (The snapshots have seen these images; its student has not.)
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from benchmark.core.needs import Needs
from benchmark.core.progress import track
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.recipe import Recipe
from benchmark.labels import student
from benchmark.labels.image_labels import ImageLabelOptions, ImageLabels
from benchmark.labels.task import Amounts, LabelTask, TaskShape
from benchmark.labels.validation import BLOCK, held_out, usual_convnet
from benchmark.models import networks
from benchmark.models.classifier import Classifier, correct
from benchmark.models.teachers import Teacher


@dataclass(frozen=True)
class Options(ImageLabelOptions):
    """Which labels, and how the snapshot is chosen.

    Attributes:
        form, k: how labels are shipped; see `benchmark.labels.image_labels`.
        teachers: `trajectory`, the snapshots along one training (`teacher.epochs`,
            `teacher.snapshots`).
        temperature: at which a snapshot's logits become probabilities.
        student: that learns from each snapshot's labels, as shipped; `auto` is a ConvNet of
            width 32 whose depth fits the resolution (see `benchmark.labels.validation`).
        steps, lr: of that student's training on the plan's views, in whole epochs.
        held_out: real training images that it is measured on.
    """

    teachers: Literal["trajectory"] = "trajectory"
    temperature: float = 1.0
    student: str = "auto"
    steps: int = 300
    lr: float = 2e-3
    held_out: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0 or not self.lr > 0:
            raise ValueError(
                f"temperature and lr must be positive, got {self.temperature}, {self.lr}"
            )
        if self.steps < 1 or self.held_out < 1:
            raise ValueError(
                f"steps and held_out must be at least 1, got {self.steps}, {self.held_out}"
            )


class Expert(ImageLabels[Options]):
    """The probabilities that the best snapshot gives each image."""

    title = "Expert labels"
    paper = "Qin et al., A Label is Worth a Thousand Images, NeurIPS 2024, arXiv 2406.10485"

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        if options.student == "auto":
            options = replace(options, student=usual_convnet(shape.resolution, width=32))
        networks.require(options.student)
        return super().resolve_options(options, shape, budget)

    @classmethod
    def needs(cls, options: Options) -> Needs:
        return Needs(snapshots=True, networks=(options.student,))

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape, tries = amounts.shape, amounts.snapshots
        batch = shape.batch_size(0)
        steps = -(-options.steps // shape.batches) * shape.batches
        return Work(
            (
                Passes(options.student, tries * steps * batch, batch, trained=True),
                Passes(options.student, tries * options.held_out, BLOCK),
                Passes(TEACHER, tries * shape.images, BLOCK),
            )
        )

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        held, _ = held_out(task, options.held_out)
        best, found = None, []
        for number, expert in enumerate(task.snapshots()):
            source = cls(task, options, soft_labels(task, expert, options.temperature))
            found.append(correct(source.trial(number), held, task.compute).double().mean().item())
            if best is None or found[-1] > max(found[:-1]):
                best = source
        assert best is not None
        best.notes = {
            "held_out_images": len(held),
            "held_out_accuracy": found,
            "snapshot": found.index(max(found)),
        }
        return best

    def trial(self, number: int) -> Classifier:
        """A student that has learnt from these labels; each starts from the same weights."""
        task, options = self.task, self.options
        epochs = -(-options.steps // task.plan.batches)
        recipe = Recipe("trial", epochs, task.plan.batch_size, lr=options.lr)
        learner = student.build(options.student, self, task.seed)
        checkpoint = task.workspace() / f"trial-{number:02}.pt"
        student.train(learner, self, recipe, checkpoint, f"try the labels of snapshot {number}")
        checkpoint.unlink(missing_ok=True)
        return learner


@torch.no_grad()
def soft_labels(task: LabelTask, expert: Teacher, temperature: float) -> Tensor:
    """An expert's probabilities for each plain image, float32 (N, C) on the device."""
    rows = []
    for pixels in track(task.images.pixels.split(BLOCK), "label the images"):
        with task.compute.autocast():
            logits = expert(pixels.to(task.device).float() / 255)
        rows.append((logits.float() / temperature).softmax(1))
    return torch.cat(rows)
