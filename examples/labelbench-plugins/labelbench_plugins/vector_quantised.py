"""Vector quantised: each view's label is one entry of a codebook, found by k-means.

The teacher's probabilities of all views at temperature `temperature` are clustered; `entries`
centres and one index a view are shipped, an index in as few bits as tell the entries apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from benchmark import (
    Artefact,
    LabelSource,
    LabelTask,
    StoredTensor,
    TaskShape,
    UserError,
    ViewBatch,
)
from benchmark.labels.packing import pack, packed_bytes, unpack, width_for
from benchmark.labels.teacher_logits import teacher_logits

CONTAINER = 2048  # bytes that manifest and headers take at most


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Attributes:
        entries: of the codebook, at most 65,536; a byte budget chooses the most that fit.
        temperature: at which the teacher's logits become probabilities.
        rounds: of k-means.
    """

    entries: int = 64
    temperature: float = 4.0
    rounds: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.entries <= 65_536 or self.rounds < 1 or not self.temperature > 0:
            raise ValueError(f"entries, rounds and temperature must be positive, got {self}")


class VectorQuantised(LabelSource[Options]):
    """Probabilities of every view, replayed in the plan's order."""

    def __init__(self, task: LabelTask, options: Options, book: Tensor, codes: Tensor) -> None:
        """Keep the codebook (entries, C), half precision, and the packed indices, uint8."""
        super().__init__(task, options)
        self.book, self.codes = book, codes

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        most = min(options.entries if budget is None else 65_536, shape.labels)
        for entries in range(most, 0, -1):
            size = CONTAINER + 2 * entries * shape.classes
            size += packed_bytes(shape.labels, width_for(entries))
            if budget is None or size <= budget:
                return replace(options, entries=entries)
        raise UserError(f"{cls.name} cannot meet a budget of {budget:,} bytes with one entry.")

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        rows = [rows.cpu() for _, rows in teacher_logits(task, range(task.plan.steps), "label")]
        labels = (torch.cat(rows).float() / options.temperature).softmax(1)
        draw = torch.Generator().manual_seed(task.seed % 2**63)
        book = labels[torch.randperm(len(labels), generator=draw)[: options.entries]]
        for _ in range(options.rounds):
            nearest = torch.cdist(labels, book).argmin(1)
            counts = nearest.bincount(minlength=len(book))[:, None]
            sums = torch.zeros_like(book).index_add_(0, nearest, labels)
            book = torch.where(counts > 0, sums / counts.clamp_min(1), book)
        codes = torch.cdist(labels, book).argmin(1)
        return cls(task, options, book.half(), pack(codes, width_for(options.entries)))

    def tensors(self) -> Iterable[StoredTensor]:
        yield StoredTensor("book", "values", self.book)
        yield StoredTensor("codes", "indices", self.codes)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        book, codes = (shipped.tensors[name].to(task.device) for name in ("book", "codes"))
        return cls(task, options, book, codes)

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        rows = self.task.plan.rows(views.epoch, views.batch)
        width = width_for(self.options.entries)
        codes = unpack(self.codes, width, rows.start, rows.stop - rows.start)
        found = self.book.float()[codes]
        return (found / found.sum(1, keepdim=True)).to(self.task.device)
