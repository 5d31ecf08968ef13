"""Stored soft labels: every label of every view, as fp16 logits. The 1x of every ratio."""

from collections.abc import Iterable
from typing import Any, Self

from torch import Tensor

from benchmark.artefact import Artefact, Blob
from benchmark.contract import LabelSource, LabelTask
from benchmark.relabel import relabel, resident
from benchmark.views import ViewBatch


class Soft(LabelSource):
    """The teacher's logits for the whole plan, replayed in order.

    The views themselves take no bytes: the plan's seed gives them back.
    """

    paper = "Yin, Xing and Shen, Squeeze, Recover and Relabel (SRe2L), NeurIPS 2023"
    space = "logits"

    def __init__(self, task: LabelTask, options: Any, logits: Tensor) -> None:
        super().__init__(task, options)
        self.logits = logits

    @classmethod
    def fit(cls, task: LabelTask, options: Any) -> Self:
        return cls(task, options, relabel(task, task.plan.steps, "label all views"))

    def blobs(self) -> Iterable[Blob]:
        yield Blob("logits", "values", self.logits)

    @classmethod
    def restore(cls, task: LabelTask, options: Any, shipped: Artefact) -> Self:
        return cls(task, options, resident(shipped.tensors["logits"], task.device))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        rows = self.logits[self.task.plan.rows(views.epoch, views.batch)]
        return rows.to(self.task.device, non_blocking=True).float()
