"""Label pruning: which batches of labels are stored, and which of them an epoch shows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError
from benchmark.data.views import POOL, SAMPLE, ViewBatch, ViewPlan, permutation, random_words, unit
from benchmark.labels.artefact import StoredTensor
from benchmark.labels.packing import pack, packed_bytes, unpack, width_for

Granularity = Literal["pool", "batch", "epoch"]
Select = Literal["first", "random", "confidence", "entropy", "loss"]
Order = Literal["highest", "lowest"]


@dataclass(frozen=True)
class Pool:
    """Stored batches, and how an epoch draws its own from them.

    Attributes:
        size: stored batches.
        per_epoch: batches that an epoch shows; for `batch` and `epoch` it divides `size`.
        granularity: `epoch` draws a whole stored epoch; `batch` takes each batch of the epoch
            from the same place in a stored epoch of its own; `pool` draws from all batches
            (LPLD's improved label pool).
        replacement: whether a draw may repeat what was drawn before. Without, `pool` shows no
            batch twice in an epoch as long as there are enough (LPQLD), `batch` and `epoch`
            none twice before all stored epochs have been shown.
    """

    size: int
    per_epoch: int
    granularity: Granularity
    replacement: bool

    def draws(self, seed: int, epoch: int) -> list[int]:
        """Positions of the batches that `epoch` shows, in order."""
        if self.granularity == "pool":
            return self._draw(seed, epoch, 0, self.size, self.per_epoch)
        stored = self.size // self.per_epoch
        # One stored epoch for each place of the epoch shown, or one for all places.
        streams = range(self.per_epoch) if self.granularity == "batch" else [0] * self.per_epoch
        first, place = divmod(epoch, stored)
        chosen = {s: self._draw(seed, first, s, stored, stored)[place] for s in set(streams)}
        return [chosen[s] * self.per_epoch + b for b, s in enumerate(streams)]

    def _draw(self, seed: int, epoch: int, stream: int, values: int, count: int) -> list[int]:
        """`count` of the numbers below `values`; without replacement as far as they reach."""
        if self.replacement:
            words = random_words(seed, epoch, stream, POOL, count)
            return np.floor(unit(words) * values).astype(int).tolist()
        rounds = range(-(-count // values))
        drawn = [permutation(random_words(seed, epoch, stream + r, POOL, values)) for r in rounds]
        return np.concatenate(drawn)[:count].tolist()


def choose(
    select: Select,
    order: Order,
    size: int,
    group: int,
    available: int,
    seed: int,
    scores: Iterable[float],
) -> list[int]:
    """The numbers of the batches to store, rising.

    Args:
        size: how many; a multiple of `group`.
        group: batches that are kept or dropped as one (an epoch's, or one).
        available: batches to choose from.
        scores: one for each available batch; only asked for by the metrics.
    """
    groups, chosen = available // group, size // group
    if select == "first":
        kept = np.arange(chosen)
    elif select == "random":
        kept = permutation(random_words(seed, 0, 0, SAMPLE, groups))[:chosen]
    else:
        ranks = np.array(list(scores))[: groups * group].reshape(groups, group).mean(1)
        kept = np.argsort(ranks if order == "lowest" else -ranks, kind="stable")[:chosen]
    return [g * group + b for g in sorted(kept.tolist()) for b in range(group)]


def score(select: Select, logits: Tensor, labels: Tensor) -> float:
    """A teacher's metric of one batch, the mean over its labels at temperature 1.

    Args:
        logits: the teacher's, (B, C).
        labels: hard labels, blended by the mix, (B, C).
    """
    logs = logits.float().log_softmax(1)
    if select == "confidence":
        each = logs.max(1).values.exp()
    elif select == "entropy":
        each = -torch.nan_to_num(logs.exp() * logs, nan=0.0).sum(1)
    else:
        each = -torch.where(labels > 0, labels * logs, 0.0).sum(1)
    return each.mean().item()


class PlannedViews:
    """The views of stored batches that the plan's seed gives back.

    Attributes:
        batches: how many are stored.
    """

    def __init__(self, plan: ViewPlan, numbers: Sequence[int]) -> None:
        self.plan, self.numbers, self.batches = plan, list(numbers), len(numbers)
        sizes = plan.sizes()
        self._ends = [0, *accumulate(sizes[n % plan.batches] for n in self.numbers)]

    def batch(self, position: int) -> ViewBatch:
        """The views of one stored batch, addressed by its position."""
        views = self.plan.batch(*divmod(self.numbers[position], self.plan.batches))
        return replace(views, epoch=0, batch=position)

    def rows(self, position: int) -> slice:
        """Where the batch's labels stand among all stored ones."""
        return slice(self._ends[position], self._ends[position + 1])

    def tensors(self) -> Iterator[StoredTensor]:
        """The batches' numbers, unless they are the plan's first."""
        if self.numbers != list(range(self.batches)):
            packed = pack(torch.tensor(self.numbers), width_for(self.plan.steps))
            yield StoredTensor("batches", "views", packed)

    @classmethod
    def restore(cls, plan: ViewPlan, size: int, packed: Tensor | None) -> "PlannedViews":
        """From what `tensors` gave, if anything.

        Raises:
            ArtefactError: they are none of the plan's batches.
        """
        if not 1 <= size <= plan.steps:
            raise ArtefactError(f"{size} batches are stored where the plan has {plan.steps}.")
        if packed is None:
            return cls(plan, range(size))
        width = width_for(plan.steps)
        if packed.dtype != torch.uint8 or packed.shape != (packed_bytes(size, width),):
            raise ArtefactError(f"The numbers of {size} stored batches have another length.")
        numbers = unpack(packed, width, 0, size).tolist()
        if max(numbers) >= plan.steps:
            raise ArtefactError(f"Batch {max(numbers)} is none of the plan's {plan.steps}.")
        return cls(plan, numbers)
