"""One student: trained on distilled images and one source's labels, tested once at the end."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from . import networks
from .classifier import Classifier
from .contract import LabelSource
from .recipe import Recipe
from .render import render
from .training import Schedule, optimise


def build(name: str, source: LabelSource, seed: int) -> Classifier:
    """A student whose initial weights depend on its seed alone, so that methods are paired."""
    task, images = source.task, source.task.images
    torch.manual_seed(seed)
    network = networks.create(name, task.classes, images.channels, images.resolution)
    return Classifier(network, task.mean, task.std).to(task.device)


def schedule(recipe: Recipe, source: LabelSource) -> Schedule:
    """The recipe's schedule over the plan's steps."""
    return Schedule(
        recipe.epochs,
        source.task.plan.batches,
        recipe.optimiser,
        recipe.rate,
        recipe.weight_decay,
        recipe.momentum,
        recipe.warmup,
    )


def train(
    student: Classifier, source: LabelSource, recipe: Recipe, checkpoint: Path, label: str
) -> list[float]:
    """Train `student` in place towards the source's targets; returns each epoch's mean loss."""
    task, compute = source.task, source.task.compute

    def losses(epoch: int) -> Iterator[Tensor]:
        for views in source.views(epoch):
            views = views.to(compute.device)
            pixels = render(task.images.pixels, views)
            targets = source.targets(views, pixels, epoch)
            with compute.autocast():
                logits = student(pixels)
            yield source.loss(logits.float(), targets, views, epoch)

    return optimise(
        student, losses, schedule(recipe, source), label, checkpoint, source.training_state
    )
