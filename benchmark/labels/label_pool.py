"""A pool of stored labels: a plan's first batches, from which epochs draw their own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..core.errors import ArtefactError, UserError
from ..data.views import POOL, ViewBatch, ViewPlan, permutation, random_words
from .artefact import Artefact
from .container import container_bytes, like, stand_in
from .task import LabelTask, TaskShape
from .teacher_logits import resident

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class LabelPool:
    """The first `size` batches of a plan, and the order in which epochs are shown them.

    Attributes:
        size: stored batches, 1 to the plan's steps. Their views take no bytes: the plan's seed
            gives them back.
    """

    plan: ViewPlan
    size: int

    def draws(self, seed: int, epoch: int, stream: int = 0) -> list[int]:
        """Positions of the batches that an epoch shows, as many as the plan has.

        Epochs go through the pool in a random order, and shuffle it anew where it ends: each
        round shows every batch once.

        Args:
            seed: of the student.
            epoch: from 0, counted from where the stream begins.
            stream: which sequence of shuffles.
        """
        first = epoch * self.plan.batches
        last = first + self.plan.batches - 1
        rounds = range(first // self.size, last // self.size + 1)
        shuffled = [
            position
            for number in rounds
            for position in permutation(random_words(seed, number, stream, POOL, self.size))
        ]
        start = first - rounds[0] * self.size
        return [int(position) for position in shuffled[start : start + self.plan.batches]]

    def batch(self, position: int) -> ViewBatch:
        """The views of one stored batch, addressed by its position."""
        views = self.plan.batch(*divmod(position, self.plan.batches))
        return replace(views, epoch=0, batch=position)

    def views(self, seed: int, epoch: int, stream: int = 0) -> Iterator[ViewBatch]:
        """The views of an epoch; arguments as those of `draws`."""
        for position in self.draws(seed, epoch, stream):
            yield self.batch(position)

    @property
    def whole(self) -> bool:
        """Whether it holds every batch of the plan."""
        return self.size == self.plan.steps

    def replay(self, seed: int, epoch: int) -> Iterator[ViewBatch]:
        """The views of an epoch: in the plan's order if it is whole, else as `views` draws them."""
        if not self.whole:
            return self.views(seed, epoch)
        first = epoch * self.plan.batches
        return (self.batch(first + b) for b in range(self.plan.batches))

    def rows(self, position: int) -> slice:
        """Where a batch's labels stand among all stored ones."""
        return self.plan.rows(*divmod(position, self.plan.batches))


def labels_of(shape: TaskShape, batches: int) -> int:
    """Labels of the first so many batches of a plan."""
    epochs, rest = divmod(batches, shape.batches)
    return epochs * shape.images + sum(shape.batch_size(b) for b in range(rest))


def batches_holding(shape: TaskShape, labels: int) -> int:
    """The most batches from a plan's first on that hold no more than so many labels."""
    epochs, left = divmod(labels, shape.images)
    batches = epochs * shape.batches
    while labels_of(shape, batches + 1) - epochs * shape.images <= left:
        batches += 1
    return batches


def batches_within(
    name: str,
    options: "DataclassInstance",
    shape: TaskShape,
    budget: int,
    most: int,
    tensor: str,
) -> int:
    """The most batches, at most `most`, whose labels of all classes as fp16 meet a byte budget.

    Args:
        name: of the method.
        options: its options, as long as they get.
        tensor: what the labels are stored as.

    Raises:
        UserError: one batch is too many.
    """
    rows = max(1, stand_in(budget) // (2 * shape.classes))
    labels = like(tensor, "values", torch.float16, rows, shape.classes)
    container = container_bytes(name, options, shape, [labels], budget)
    room = (budget - container) // (2 * shape.classes)  # labels
    if room < shape.batch_size(0):
        least = container + 2 * shape.classes * shape.batch_size(0)
        raise UserError(
            f"{name} cannot meet a budget of {budget:,} bytes: the least it can take is "
            f"{least:,}, for one batch of {shape.batch_size(0)} labels and the container."
        )
    return min(batches_holding(shape, room), most)


def restored(task: LabelTask, batches: int, shipped: Artefact, name: str) -> Tensor:
    """The fp16 labels (n, C) of a pool of so many batches; on the device if they are few.

    Args:
        name: of their tensor.

    Raises:
        ArtefactError: the plan has fewer batches, or the labels are of another type or number.
    """
    if not 1 <= batches <= task.plan.steps:
        raise ArtefactError(f"{batches} batches are stored where the plan has {task.plan.steps}.")
    labels, shape = shipped.tensors.get(name), (labels_of(task.shape, batches), task.classes)
    if labels is None or labels.dtype != torch.float16 or labels.shape != shape:
        raise ArtefactError(f"The labels' {name} are not float16 {shape}.")
    return resident(labels, task.device)
