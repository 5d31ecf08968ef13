"""Where labels come from before they are pruned: the teacher, or a folder that others filled."""

from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.progress import track
from benchmark.data.rendering import render
from benchmark.data.views import ViewBatch
from benchmark.exchange.official import OfficialLabels, open_folder
from benchmark.labels.stored_views import StoredViews, ViewWriter
from benchmark.labels.task import LabelTask, TaskShape
from benchmark.labels.teacher_logits import teacher_logits

from .options import Options
from .pool import PlannedViews

FEW = 100  # views; fewer cannot tell right labels from wrong ones
ENOUGH = 2000


class Supply(Protocol):
    """Batches of labels to choose from.

    Attributes:
        batches: how many.
    """

    batches: int

    def labels(self, numbers: Sequence[int], title: str) -> Iterator[tuple[ViewBatch, Tensor]]:
        """Each batch's views, on the CPU, and its logits (B, C); unknown ones are -inf."""
        ...

    def views(self, numbers: Sequence[int]) -> PlannedViews | StoredViews:
        """The views of these batches, to be stored in this order."""
        ...


class Made:
    """The teacher's labels for the views of the plan."""

    def __init__(self, task: LabelTask) -> None:
        self.task, self.batches = task, task.plan.steps

    def labels(self, numbers: Sequence[int], title: str) -> Iterator[tuple[ViewBatch, Tensor]]:
        return teacher_logits(self.task, numbers, title)

    def views(self, numbers: Sequence[int]) -> PlannedViews:
        return PlannedViews(self.task.plan, numbers)


class Imported:
    """Labels in the form of SRe2L, LPLD or LPQLD, no more batches than the plan has."""

    def __init__(self, task: LabelTask, path: Path) -> None:
        self.task, self.folder = task, folder_of(path, task)
        self.batches = min(self.folder.batches, task.plan.steps)

    def labels(self, numbers: Sequence[int], title: str) -> Iterator[tuple[ViewBatch, Tensor]]:
        """As `Supply.labels`.

        Raises:
            UserError: the labels' top classes are those of the task's teacher (or, without
                one, the images' own) no more often than chance would have it: images or
                classes stood in another order where the labels were made.
        """
        classes, right, seen = self.task.classes, 0, 0
        for number in track(numbers, title):
            batch = self.folder.batch(number)
            logits = batch.logits(classes).to(self.task.device)
            if seen < ENOUGH:
                expected, plain = self._expected(batch.views)
                right += int((logits.argmax(1) == expected)[plain].sum())
                seen += int(plain.sum())
            yield batch.views, logits
        chance = 1 / classes
        by_chance = seen * chance + 3 * sqrt(seen * chance * (1 - chance))
        if seen >= FEW and right <= by_chance:
            raise UserError(
                f"The labels in {str(self.folder.folder)!r} do not fit these images: their top "
                f"class is the expected one in {right} of {seen} views, and chance gives "
                f"{chance:.1%}. Did images or classes stand in another order where they were made?"
            )

    @torch.no_grad()
    def _expected(self, views: ViewBatch) -> tuple[Tensor, Tensor]:
        """The class that each label should name, and the views it is to be expected of."""
        views, teacher = views.to(self.task.device), self.task.teacher
        if teacher is not None:
            top = teacher(render(self.task.images.pixels, views)).argmax(1)
            return top, torch.ones_like(views.flip)
        own = self.task.images.labels.to(self.task.device)[views.index]
        return own, views.mix_weight > 0.5

    def views(self, numbers: Sequence[int]) -> StoredViews:
        plan, largest = self.task.plan, max(self.folder.sizes)
        writer = ViewWriter(self.task.workspace(), plan.images, plan.resolution, largest)
        for number in track(numbers, "store views"):
            writer.add(self.folder.batch(number).views)
        return writer.stored()


def check_theirs(options: Options, shape: TaskShape, theirs: OfficialLabels) -> None:
    """Refuse options that a folder of labels cannot serve.

    Raises:
        UserError: whole epochs are asked for and theirs have another number of batches, or a
            metric needs logits that they dropped.
    """
    each = theirs.batches_per_epoch
    if options.granularity != "pool" and each != shape.batches:
        raise UserError(
            f"lpqld.granularity={options.granularity} needs stored epochs of {shape.batches} "
            f"batches, and {options.path!r} has {each or 'no epochs'}: take `pool`."
        )
    if options.select == "loss" and theirs.kept < shape.classes:
        raise UserError(
            f"lpqld.select=loss needs the logits of all {shape.classes} classes, and "
            f"{options.path!r} keeps {theirs.kept}: take confidence or entropy."
        )


def folder_of(path: Path, task: LabelTask) -> OfficialLabels:
    """The folder of labels, which must be for as many images and classes as the task has."""
    return open_folder(path, len(task.images), task.plan.resolution, classes=task.classes)
