"""Where labels come from before they are pruned: the teacher, or a folder that others filled."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.progress import say, track
from benchmark.data.rendering import render
from benchmark.data.views import ViewBatch
from benchmark.exchange.official import OfficialLabels, open_folder
from benchmark.labels.stored_views import StoredViews, ViewWriter
from benchmark.labels.task import LabelTask, TaskShape
from benchmark.labels.teacher_logits import teacher_logits
from benchmark.models import joins
from benchmark.models.agreement import agreement, described

from .options import Options
from .pool import PlannedViews

ENOUGH = 2000  # views that tell right labels from wrong ones


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
        """As `Supply.labels`; the teacher labels them now."""
        return teacher_logits(self.task, numbers, title)

    def views(self, numbers: Sequence[int]) -> PlannedViews:
        """As `Supply.views`; the plan gives them again."""
        return PlannedViews(self.task.plan, numbers)


class Imported:
    """Labels in the form of SRe2L, LPLD or LPQLD, no more batches than the plan has."""

    def __init__(self, task: LabelTask, options: Options) -> None:
        self.task, self.class_order = task, options.class_order
        self.folder = open_folder(
            Path(options.path),
            len(task.images),
            task.plan.resolution,
            classes=task.classes,
            positions=task.images.positions,
        )
        self.batches = min(self.folder.batches, task.plan.steps)

    def labels(self, numbers: Sequence[int], title: str) -> Iterator[tuple[ViewBatch, Tensor]]:
        """As `Supply.labels`.

        Raises:
            UserError: the labels' top classes are too seldom those of the task's teacher (or,
                without one, the images' own), or another order of the classes explains more.
        """
        order = self._order(numbers)
        for number in track(numbers, title):
            batch = self.folder.batch(number)
            logits = batch.logits(self.task.classes).to(self.task.device)
            yield batch.views, logits if order is None else logits[:, order]

    def _order(self, numbers: Sequence[int]) -> Tensor | None:
        """The order that `class_order` asks to put their classes in, if another than their own.

        As many labels are looked at as tell right ones from wrong ones, spread over all.
        """
        task, names = self.task, self.task.images.class_names
        step = max(1, len(numbers) * min(self.folder.sizes) // ENOUGH)
        named, expected = [], []
        for number in numbers[::step]:
            batch = self.folder.batch(number)
            known, plain = self._expected(batch.views)
            top = batch.logits(task.classes).to(task.device).argmax(1)
            named.append(top[plain].cpu())
            expected.append(known[plain].cpu())
        found = agreement(torch.cat(named), torch.cat(expected), task.classes)
        if self.class_order == "fitted" and found.order is not None:
            say(f"the labels' classes are put in order: {described(found.order, names)}")
            return found.order.to(task.device)
        joins.check_labels(found, names, repr(str(self.folder.folder)), task.accepted)
        return None

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
        """As `Supply.views`, written into a workspace."""
        plan, largest = self.task.plan, max(self.folder.sizes)
        writer = ViewWriter(self.task.workspace(), plan.images, plan.resolution, largest)
        for number in track(numbers, "store views"):
            writer.add(self.folder.batch(number).views)
        return writer.stored()


def check_theirs(options: Options, shape: TaskShape, theirs: OfficialLabels) -> None:
    """Refuse options that a folder of labels cannot serve.

    Raises:
        UserError: its batches are of another size than the recipe's, whole epochs are asked for
            and theirs have another number of batches, or a metric needs logits that they dropped.
    """
    largest = max(theirs.sizes)
    if -(-shape.images // largest) != shape.batches:
        raise UserError(
            f"{options.path!r} holds batches of {largest} views, of which {shape.images} images "
            f"make {-(-shape.images // largest)} an epoch, and the recipe takes {shape.batches}: "
            f"an epoch would not show as many views as there are images. Set "
            f"recipe.batch_size={largest}."
        )
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
