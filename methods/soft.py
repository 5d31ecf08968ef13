"""Stored soft labels: every label of every view, as fp16 logits. The 1x of every ratio."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError
from benchmark.core.needs import Needs
from benchmark.core.work import Work
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import LabelSource
from benchmark.labels.ensemble import Teachers, labelling, needs_of, taught_by
from benchmark.labels.relabelling import Relabelling
from benchmark.labels.task import Amounts, LabelTask, StoredViewCount, TaskShape
from benchmark.labels.teacher_logits import ahead, kept_logits, resident
from benchmark.labels.writer import Stored


@dataclass(frozen=True)
class Options:
    """teachers: the `final` one, or the mean of weak ones along a `trajectory` (HeLlO)."""

    teachers: Teachers = "final"


class Soft(LabelSource[Options]):
    """The teacher's logits for the whole plan, replayed in order.

    The views themselves take no bytes: the plan's seed gives them back.
    """

    title = "Soft labels"
    paper = "Yin, Xing and Shen, Squeeze, Recover and Relabel (SRe2L), arXiv 2306.13092"
    space = "logits"
    control = "full"

    def __init__(self, task: LabelTask, options: Options, logits: Tensor | Stored) -> None:
        super().__init__(task, options)
        self.logits, self._ahead = logits, ahead(logits, task.device)

    @classmethod
    def needs(cls, options: Options) -> Needs:
        return needs_of(options.teachers)

    @classmethod
    def label_bytes(cls, options: Options, shape: TaskShape) -> int:
        return shape.soft_bytes

    @classmethod
    def stored_views(cls, options: Options, shape: TaskShape) -> StoredViewCount:
        return StoredViewCount(shape.epochs * shape.batches, shape.classes)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        return Work((labelling(options.teachers, shape.labels, shape.batch_size(0), amounts),))

    @classmethod
    def relabelling(cls, options: Options, plan: ViewPlan, seed: int) -> Relabelling:
        return Relabelling(range(plan.steps), options.teachers)

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        taught = taught_by(task, options.teachers)
        return cls(task, options, kept_logits(taught, task.plan.steps))

    def tensors(self) -> Iterable[StoredTensor]:
        yield StoredTensor("logits", "values", self.logits)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        logits, shape = shipped.tensors.get("logits"), (task.shape.labels, task.classes)
        if logits is None or logits.dtype != torch.float16 or logits.shape != shape:
            raise ArtefactError(f"The labels' logits are not float16 {shape}.")
        return cls(task, options, resident(logits, task.device))

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        for epoch in range(self.task.plan.epochs):
            for views in self.task.plan.epoch(epoch):
                rows = self.task.plan.rows(views.epoch, views.batch)
                yield views, self.logits[rows].float().cpu()

    def expect(self, views: ViewBatch) -> None:
        if self._ahead is not None:
            self._ahead.expect(self.task.plan.rows(views.epoch, views.batch))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        stored = self._ahead or self.logits
        rows = stored[self.task.plan.rows(views.epoch, views.batch)]
        return rows.to(self.task.device, non_blocking=True).float()
