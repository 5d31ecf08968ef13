"""Low rank: the teacher's logits of all views, as the product of two thin matrices.

The logits of the plan's N views of C classes are centred, and their singular value decomposition
is cut to `rank` terms: N x rank and rank x C numbers are shipped, in half precision.
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
from benchmark.labels.teacher_logits import teacher_logits

CONTAINER = 2048  # bytes that manifest and headers take at most


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Attributes:
        rank: terms that are kept; 0 keeps half as many as there are classes, or as many as a
            byte budget buys.
    """

    rank: int = 0

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ValueError(f"rank must not be negative, got {self.rank}")


class LowRank(LabelSource[Options]):
    """Logits of every view, replayed in the plan's order."""

    space = "logits"

    def __init__(
        self, task: LabelTask, options: Options, left: Tensor, right: Tensor, mean: Tensor
    ) -> None:
        """Keep the factors: left (N, rank), right (rank, C), and the mean logits (C,)."""
        super().__init__(task, options)
        self.left, self.right, self.mean = left, right, mean

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        most = min(shape.classes, shape.labels)
        rank = min(options.rank or max(1, shape.classes // 2), most)
        if budget is not None:
            fixed, each = CONTAINER + 2 * shape.classes, 2 * (shape.labels + shape.classes)
            rank = min(most, (budget - fixed) // each)
            if rank < 1:
                raise UserError(
                    f"{cls.name} cannot meet a budget of {budget:,} bytes: one term takes "
                    f"{fixed + each:,}."
                )
        return replace(options, rank=rank)

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        rows = [rows.cpu() for _, rows in teacher_logits(task, range(task.plan.steps), "label")]
        logits = torch.cat(rows).double()
        mean = logits.mean(0)
        u, s, v = torch.linalg.svd(logits - mean, full_matrices=False)
        left, right = u[:, : options.rank] * s[: options.rank], v[: options.rank]
        made = cls(task, options, left.half(), right.half(), mean.half())
        made.notes["energy"] = float((s[: options.rank] ** 2).sum() / (s**2).sum())
        return made

    def tensors(self) -> Iterable[StoredTensor]:
        yield StoredTensor("left", "values", self.left)
        yield StoredTensor("right", "values", self.right)
        yield StoredTensor("mean", "values", self.mean)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        parts = (shipped.tensors[name].to(task.device) for name in ("left", "right", "mean"))
        return cls(task, options, *parts)

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        rows = self.left[self.task.plan.rows(views.epoch, views.batch)].to(self.task.device)
        return rows.float() @ self.right.float().to(rows.device) + self.mean.to(rows.device)
