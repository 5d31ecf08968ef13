"""One student: trained on distilled images and one source's labels, tested once at the end."""

from collections.abc import Callable, Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core import ranks
from ..core.device import Compute
from ..core.errors import UserError
from ..data.recipe import Recipe
from ..data.rendering import render
from ..data.siamese import Siamese
from ..data.views import ViewBatch, concatenated
from ..models import networks
from ..models.classifier import Classifier
from ..models.gradients import Batch
from ..models.training import Optimisation, optimise
from .contract import LabelSource
from .task import LabelTask

VALUES_AT_ONCE = 2**23  # of pixels, 32 MiB


class Student(Classifier):
    """A network that learns by the source's loss.

    Args:
        network: with the seed's initial weights.
        task: says how pixels are normalised, and how the plan augments them afterwards.
        seed: of that augmentation, and of torch's random numbers while it trains.
    """

    def __init__(self, network: nn.Module, task: LabelTask, seed: int) -> None:
        super().__init__(network, task.mean, task.std, task.whitening)
        self.seed = seed
        self.augment = Siamese(task.plan.augmentation.dsa, seed)

    def batch(
        self, source: LabelSource, pixels: Tensor, targets: Any, views: ViewBatch, epoch: int
    ) -> Batch:
        """What to minimise; arguments as those of `LabelSource.supply` and `loss`."""

        def logits(rows: slice) -> Tensor:
            with source.task.compute.autocast():
                return self.seen(here(pixels, rows, len(views)), views, epoch, rows).float()

        def loss(logits: Tensor) -> Tensor:
            return source.loss(logits, targets, views, epoch)

        return Batch(len(views), logits, loss)

    def seen(
        self, pixels: Tensor, views: ViewBatch, epoch: int, rows: slice = slice(None)
    ) -> Tensor:
        """Logits of views while training: with the augmentation that follows normalisation.

        Args:
            rows: of the views, where pixels are not of all.
        """
        normalised = self.normalised(pixels)
        return self.network(self.augment(normalised, epoch, views.batch, rows, len(views)))

    def bare_batch(self, pixels: Tensor, labels: Tensor, compute: Compute) -> Batch:
        """The same without a source: the cross-entropy with probabilities (B, classes)."""

        def logits(rows: slice) -> Tensor:
            with compute.autocast():
                return self(pixels[rows]).float()

        return Batch(len(pixels), logits, lambda logits: F.cross_entropy(logits, labels))


def build(name: str, source: LabelSource, seed: int) -> Student:
    """A student whose initial weights depend on its seed alone, so that methods are paired."""
    task = source.task
    student = Student(untrained(name, source, seed), task, seed)
    return task.compute.place(student)


def untrained(name: str, source: LabelSource, seed: int) -> nn.Module:
    """The network itself, with the seed's initial weights."""
    task, images = source.task, source.task.images
    torch.manual_seed(seed)
    return networks.create(name, task.classes, images.channels, images.resolution)


def optimisation(recipe: Recipe, source: LabelSource) -> Optimisation:
    """The recipe's schedule over the plan's batches."""
    plan = source.task.plan
    return Optimisation(
        recipe.epochs_of(plan.images),
        plan.batches,
        recipe.optimiser,
        recipe.lr,
        recipe.weight_decay,
        recipe.momentum,
        recipe.warmup,
        schedule=recipe.schedule,
    )


def stream(source: LabelSource, epoch: int) -> Iterator[tuple[ViewBatch, Tensor, Any]]:
    """The views of an epoch, batch after batch, on the device, with their pixels and targets.

    The source is told of views a batch ahead, so that it may read labels while a step runs.
    """

    def expected() -> Iterator[tuple[ViewBatch, Tensor]]:
        for views, here, pixels in views_with_pixels(source, epoch):
            source.expect(views)
            yield here, pixels

    for shown, _ in pairwise(chain(expected(), [None])):
        assert shown is not None
        views, pixels = shown
        yield views, pixels, supplied(source, views, pixels, epoch)


def views_with_pixels(
    source: LabelSource, epoch: int
) -> Iterator[tuple[ViewBatch, ViewBatch, Tensor]]:
    """The views of an epoch, on the CPU and on the device, with their pixels.

    A GPU is given those of several batches at once, since each launch of work costs it as much as
    the work on a batch.
    """
    batches = iter(source.views(epoch))
    while some := list(islice(batches, at_once(source.task))):
        with ranks.together():
            views = concatenated(some).to(source.task.device)
            pixels = rendered(source, views)
        if len(some) == 1:
            yield some[0], views, pixels
            continue
        sizes = [len(batch) for batch in some]
        yield from zip(some, views.parts(some), pixels.split(sizes), strict=True)


def at_once(task: LabelTask) -> int:
    """Batches of views to render together."""
    if task.device.type == "cpu" or ranks.count() > 1:
        return 1
    a_view = task.images.channels * task.images.resolution**2
    return max(1, VALUES_AT_ONCE // (task.plan.sizes()[0] * a_view))


def rendered(source: LabelSource, views: ViewBatch) -> Tensor:
    """The pixels of views, on the device.

    Of several processes that train together, each renders an online source's rows of its own; for
    other sources, which may look at any pixels, all rows.
    """
    images = source.task.images.pixels
    if ranks.count() == 1 or source.network is None:
        return render(images, views)
    rows = ranks.rows(len(views))
    return render(images, views.with_partners(rows))[: rows.stop - rows.start]


def here(pixels: Tensor, rows: slice, size: int) -> Tensor:
    """Rows of a batch of `size` views, whose pixels are all there, or those of this process."""
    first = ranks.rows(size).start if len(pixels) < size else 0
    return pixels[rows.start - first : rows.stop - first]


def supplied(source: LabelSource, views: ViewBatch, pixels: Tensor, epoch: int) -> Any:
    """The source's targets of a batch, in each of the processes that train together.

    An online source's network sees in each process only that one's rows. What others look up is
    looked up in each for the whole batch.

    Args:
        pixels: as `rendered` gives them.

    Raises:
        UserError: an online source's targets are no tensor, or a process failed.
    """
    if ranks.count() == 1 or source.network is None:
        with ranks.together():
            return source.supply(views, pixels, epoch)
    with ranks.together():
        own = source.supply(views.rows(ranks.rows(len(views))), pixels, epoch)
        if not isinstance(own, Tensor):
            raise UserError(
                f"The targets of {source.name} are a {type(own).__name__}, not a tensor, so "
                "several processes cannot each make their part of them: train it in one."
            )
    return ranks.gathered(own, len(views))


def losses_of(student: Student, source: LabelSource) -> Callable[[int], Iterator[Batch]]:
    """The losses of an epoch, one a step."""

    def losses(epoch: int) -> Iterator[Batch]:
        for views, pixels, targets in stream(source, epoch):
            yield student.batch(source, pixels, targets, views, epoch)

    return losses


def train(
    student: Student, source: LabelSource, recipe: Recipe, checkpoint: Path, label: str
) -> list[float]:
    """Train `student` in place towards the source's targets; returns each epoch's mean loss."""
    return optimise(
        student,
        losses_of(student, source),
        optimisation(recipe, source),
        label,
        checkpoint,
        source.training_state,
    )
