"""LPQLD: few stored batches of labels, few logits each, reused under a falling temperature.

Label pruning keeps the first batches of the plan as a pool, from which every epoch draws its
batches anew (LPLD's improved label pool). Quantisation keeps the k largest logits of a label
and renormalises over them (MR-k). Dynamic knowledge reuse softens a label at a temperature
that depends on the epoch, so that a label reused says something new. Calibrated alignment
sets the student's own temperature once an epoch.

Xiao and He, arXiv 2604.18135 (LPQLD), 2410.15919 (LPLD). Deviations from the released code:
views are not stored, since the plan's seed gives them back; class indices take as many bits
as the class count needs; the pool and its draws are seeded; the reversed step schedule has the
forward one's floor, and ends at its starting temperature.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.artefact import Artefact, Blob
from benchmark.contract import LabelSource, LabelTask, TaskShape
from benchmark.errors import UserError
from benchmark.packing import pack, packed_bytes, unpack, width_for
from benchmark.relabel import relabel, resident
from benchmark.views import POOL, ViewBatch, permutation, random_words

# The manifest and headers of an artefact of this kind stay below this.
CONTAINER_BYTES = 2048


class LPQLD(LabelSource):
    """A pool of stored batches with top-k logits."""

    paper = "Xiao and He, Soft Label Pruning and Quantization (LPQLD), arXiv 2604.18135"

    @dataclass(frozen=True)
    class Options:
        """What is kept, and how it is reused.

        Attributes:
            keep: share of all batches of the plan that are stored, 1 - r of the papers.
            k: logits kept a label; 0 keeps a tenth of the classes, as MR-100 of 1,000 does,
                but at least 2.
            schedule: of the temperature over the epochs; `none` keeps the recipe's.
            decay: factor of the `step` schedule at each step down (gamma).
            interval: share of the epochs between its steps (30 of 300).
            floor: lowest temperature.
            calibrate: calibrated student-teacher alignment; without it the student is
                compared at the labels' temperature.
        """

        keep: float = 0.1
        k: int = 0
        schedule: Literal["step", "cosine", "step_reverse", "cosine_reverse", "none"] = "step"
        decay: float = 0.7
        interval: float = 0.1
        floor: float = 2.0
        calibrate: bool = True

        def __post_init__(self) -> None:
            if not 0 < self.keep <= 1:
                raise ValueError(f"keep must be a share above 0 and at most 1, got {self.keep}")
            if self.k < 0:
                raise ValueError(f"k must not be negative, got {self.k}")
            if not 0 < self.interval <= 1 or not 0 < self.decay <= 1 or not self.floor > 0:
                raise ValueError(
                    "interval and decay must be in (0, 1] and floor positive, got "
                    f"{self.interval}, {self.decay}, {self.floor}"
                )

    def __init__(self, task: LabelTask, options: Any, values: Tensor, indices: Tensor) -> None:
        super().__init__(task, options)
        self.values = values  # (labels, k) fp16
        self.indices = indices  # packed
        self.pool = pool_size(options.keep, task.plan.steps)
        self.width = width_for(task.classes)

    @classmethod
    def settle(cls, options: Any, shape: TaskShape, budget: int | None) -> Any:
        """Under a budget: the most logits at the given pruning; then more, or fewer, batches."""
        if options.k > shape.classes:
            raise UserError(f"lpqld.k is {options.k}, but there are {shape.classes} classes.")
        steps, fewest = shape.epochs * shape.batches, min(2, shape.classes)
        pool = pool_size(options.keep, steps)
        if budget is None:
            return replace(options, k=options.k or max(fewest, shape.classes // 10))
        room = budget - CONTAINER_BYTES
        least = label_bytes(shape, 1, fewest)
        if least > room:
            raise UserError(
                f"lpqld cannot meet a budget of {budget:,} bytes: one batch of {fewest} logits "
                f"a label, with the container, takes {least + CONTAINER_BYTES:,}."
            )
        ks = range(fewest, shape.classes + 1)
        k = max((k for k in ks if label_bytes(shape, pool, k) <= room), default=fewest)
        if k in (fewest, shape.classes):
            pools = range(1, steps + 1)
            pool = pools[bisect_right(pools, room, key=lambda p: label_bytes(shape, p, k)) - 1]
        return replace(options, k=k, keep=pool / steps)

    @classmethod
    def fit(cls, task: LabelTask, options: Any) -> Self:
        pool = pool_size(options.keep, task.plan.steps)
        logits = relabel(task, pool, f"label {pool} of {task.plan.steps} batches")
        values, indices = logits.topk(options.k, dim=1)
        return cls(task, options, values, pack(indices, width_for(task.classes)))

    def blobs(self) -> Iterable[Blob]:
        yield Blob("values", "values", self.values)
        yield Blob("indices", "indices", self.indices)

    @classmethod
    def restore(cls, task: LabelTask, options: Any, shipped: Artefact) -> Self:
        values, indices = shipped.tensors["values"], shipped.tensors["indices"]
        return cls(task, options, resident(values, task.device), resident(indices, task.device))

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        """As many batches as the plan has, drawn from the pool without replacement."""
        plan = self.task.plan
        rounds = -(-plan.batches // self.pool)
        draws = np.concatenate(
            [
                permutation(random_words(self.task.seed, epoch, r, POOL, self.pool))
                for r in range(rounds)
            ]
        )
        for number in draws[: plan.batches].tolist():
            yield plan.batch(*divmod(number, plan.batches))

    def temperature(self, epoch: int) -> float:
        """Of the labels in `epoch` (from 0); section D of the released code's behaviour."""
        start, options, epochs = (
            self.task.objective.temperature,
            self.options,
            self.task.plan.epochs,
        )
        interval = max(1, round(options.interval * epochs))
        swing = 0.5 * (start - options.floor) * math.cos(math.pi * (epoch + 1) / epochs)
        middle = options.floor + 0.5 * (start - options.floor)
        match options.schedule:
            case "step":
                return max(start * options.decay ** ((epoch + 1) // interval), options.floor)
            case "step_reverse":
                steps = (epochs - epoch - 1) // interval
                return max(start * options.decay**steps, options.floor)
            case "cosine":
                return middle + swing
            case "cosine_reverse":
                return middle - swing
            case _:
                return start

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        rows, k = self.task.plan.rows(views.epoch, views.batch), self.options.k
        values = self.values[rows].to(self.task.device, non_blocking=True).float()
        indices = unpack(self.indices, self.width, rows.start * k, values.numel())
        kept = F.softmax(values / self.temperature(epoch), 1)
        target = kept.new_zeros(len(kept), self.task.classes)
        return target.scatter_(1, indices.to(kept.device).view(-1, k), kept)

    def loss(self, logits: Tensor, targets: Tensor, views: ViewBatch, epoch: int) -> Tensor:
        """KL to the student's softmax at the calibrated temperature, or at the labels' own."""
        if self.options.calibrate:
            at = self._calibrated(logits, targets, epoch)
        else:
            at = self.temperature(epoch)
        return F.kl_div(F.log_softmax(logits / at, 1), targets, reduction="batchmean")

    def _calibrated(self, logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """The student's temperature: 1 at first, then refitted on each epoch's last batch.

        Of {0.01, 0.02, ..., 1.00} the one with the least divergence, as in section F.
        """
        memory = self.training_state
        if "epoch" not in memory:
            memory["temperature"] = torch.ones((), device=logits.device)
        elif int(memory["epoch"]) != epoch:
            grid = torch.arange(1, 101, device=logits.device) / 100
            scaled = F.log_softmax(memory["logits"] / grid[:, None, None], 2)
            memory["temperature"] = grid[(memory["targets"] * -scaled).sum((1, 2)).argmin()]
        memory["epoch"] = torch.tensor(epoch)  # stays on the CPU: read without waiting
        memory["logits"], memory["targets"] = logits.detach().float(), targets
        return memory["temperature"]


def pool_size(keep: float, steps: int) -> int:
    """Stored batches; at least one."""
    return max(1, min(steps, round(keep * steps)))


def label_bytes(shape: TaskShape, pool: int, k: int) -> int:
    """Bytes of values and indices for a pool of so many batches, k logits a label; at most."""
    labels = pool * -(-shape.images // shape.batches)
    return labels * k * 2 + packed_bytes(labels * k, width_for(shape.classes))
