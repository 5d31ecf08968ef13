"""HALD: few soft labels a class, and between two phases of them one of hard labels.

Cui et al., "Hard Labels In! Rethinking the Role of Hard Labels in Mitigating Local Semantic
Drift" (arXiv 2512.15647): SLC soft labels a class, of views cropped and mixed, are kept as fp16
probabilities; the student is shown them for half of the soft epochs, then hard labels of fresh
views, CutMix and smoothed, and then the soft ones again. After their code, but for this:

- views take no bytes: the plan's seed gives back crop, flip, partner and box, which they store.
- the pool is counted in batches, not in whole epochs (theirs rounds SLC down to a multiple of
  IPC), so that a byte budget can be met; its views are the first of the plan.
- batch, optimiser, schedule and temperature are the recipe's; theirs are 16, AdamW with a rate
  for each network, and 20. A recipe that rescales its loss, or adds a cross-entropy with the
  images' classes, does so here too.
- views of the hard phase are the plan's of that epoch; theirs are CutMix whatever the soft ones
  are. An odd last view is not dropped.
- the pool is shuffled by the student's seed, theirs by one seed for all.
- teachers answer in evaluation mode; theirs by the batch's statistics unless images are RDED's.
- the last epoch's weights count; theirs are those that did best on the test set.

Smoothing by 0.8 leaves a class 251 times the share of any other among 1,000, but 3.5 times among
10: for few classes a smaller amount is worth a try. A recipe that does not rescale its loss at a
high temperature, as theirs does not, leaves the later soft phase to the hard one's gradients, which
AdamW remembers for a thousand steps: where a phase is shorter than that, `soft=1` is better.

Their script sets the share of soft epochs for each SLC and shows one, half of them at an SLC of
100: the default here whatever the SLC.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import LabelSource
from benchmark.labels.label_pool import LabelPool, batches_within, labels_of, restored
from benchmark.labels.relabelling import Relabelling
from benchmark.labels.task import Amounts, LabelTask, StoredViewCount, TaskShape
from benchmark.labels.teacher_logits import kept_logits
from benchmark.labels.writer import Stored


@dataclass(frozen=True)
class Options:
    """How many soft labels, and when they are shown.

    Attributes:
        slc: soft labels a class that are stored, at most as many as the soft epochs show; a byte
            budget chooses the most that fit.
        batches: how many batches are stored, instead of so many labels; 0 goes by `slc`.
        soft: share of the epochs, above 0 and at most 1, on soft labels: the first and the last.
        smoothing: share of a hard label that is spread over all classes, 0 to below 1.
    """

    slc: float = 100.0
    batches: int = 0
    soft: float = 0.5
    smoothing: float = 0.8

    def __post_init__(self) -> None:
        if not self.slc > 0 or self.batches < 0:
            raise ValueError(
                f"slc must be positive and batches not negative, got {self.slc}, {self.batches}"
            )
        if not 0 < self.soft <= 1:
            raise ValueError(f"soft must be a share above 0 and at most 1, got {self.soft}")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must be in [0, 1), got {self.smoothing}")


@dataclass(frozen=True)
class Phases:
    """How epochs are shared out: soft ones, `hard` ones, soft ones again.

    Attributes:
        before, hard, after: epochs of each phase.
    """

    before: int
    hard: int
    after: int

    @classmethod
    def of(cls, share: float, epochs: int) -> Self:
        """At least one epoch is soft; the later phase has the odd one."""
        soft = min(epochs, max(1, round(share * epochs)))
        return cls(soft // 2, epochs - soft, soft - soft // 2)

    def place(self, epoch: int) -> tuple[int, int] | None:
        """Which soft phase an epoch is in, 0 or 1, and the how manieth of it; None if hard."""
        if epoch < self.before:
            return 0, epoch
        if epoch < self.before + self.hard:
            return None
        return 1, epoch - self.before - self.hard


class HALD(LabelSource[Options]):
    """A pool of stored probabilities, and the images' classes between two uses of it."""

    paper = "Cui et al., Hard Labels In! (HALD), arXiv 2512.15647"

    def __init__(self, task: LabelTask, options: Options, soft: Tensor | Stored) -> None:
        """Keep `soft`, fp16 probabilities (n, C) of the pool's views."""
        super().__init__(task, options)
        self.soft = soft
        self.pool = LabelPool(task.plan, options.batches)
        self.phases = Phases.of(options.soft, task.plan.epochs)

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        phases = Phases.of(options.soft, shape.epochs)
        most = (phases.before + phases.after) * shape.batches
        if options.batches > most:
            raise UserError(f"hald.batches is {options.batches}, but the soft epochs show {most}.")
        if budget is not None:
            longest = replace(options, slc=123456.654321, batches=most)
            batches = batches_within(cls.name, longest, shape, budget, most, "soft")
        else:
            wished = int(options.slc * shape.classes * shape.batches / shape.images)
            batches = options.batches or max(1, min(most, wished))
        slc = round(labels_of(shape, batches) / shape.classes, 6)
        return replace(options, batches=batches, slc=slc)

    @classmethod
    def label_bytes(cls, options: Options, shape: TaskShape) -> int:
        return 2 * shape.classes * labels_of(shape, options.batches)

    @classmethod
    def stored_views(cls, options: Options, shape: TaskShape) -> StoredViewCount:
        return StoredViewCount(options.batches, shape.classes)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        return Work((Passes(TEACHER, labels_of(shape, options.batches), shape.batch_size(0)),))

    @classmethod
    def relabelling(cls, options: Options, plan: ViewPlan, seed: int) -> Relabelling:
        return Relabelling(range(options.batches))

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        objective = task.objective

        def soft(rows: Tensor) -> Tensor:
            return (rows.float() * objective.label_scale / objective.temperature).softmax(1)

        return cls(task, options, kept_logits(task, options.batches, soft))

    def tensors(self) -> Iterable[StoredTensor]:
        yield StoredTensor("soft", "values", self.soft)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        return cls(task, options, restored(task, options.batches, shipped, "soft"))

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        """Each batch's views and its labels as logits: up to a number for each label."""
        objective = self.task.objective
        for position in range(self.pool.size):
            shares = self.soft[self.pool.rows(position)].float().cpu()
            yield (
                self.pool.batch(position),
                shares.log() * objective.temperature / objective.label_scale,
            )

    @property
    def seeded(self) -> bool:
        return True

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        place = self.phases.place(epoch)
        if place is None:
            return self.task.plan.epoch(epoch)
        phase, number = place
        return self.pool.views(self.task.seed, number, phase)

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        if self.phases.place(epoch) is None:
            amount = self.options.smoothing
            return (1 - amount) * self.task.hard_labels(views) + amount / self.task.classes
        rows = self.soft[self.pool.rows(views.batch)]
        return rows.to(self.task.device, non_blocking=True).float()

    def loss(self, logits: Tensor, targets: Tensor, views: ViewBatch, epoch: int) -> Tensor:
        """KL to the student's softmax: at the recipe's temperature in soft epochs, 1 in hard."""
        if self.phases.place(epoch) is None:
            log_probs = F.log_softmax(logits, 1)
            return F.kl_div(log_probs, targets, reduction="batchmean")
        objective = self.task.objective
        temperature = objective.temperature
        log_probs = F.log_softmax(logits / temperature, 1)
        loss = F.kl_div(log_probs, targets, reduction="batchmean")
        if objective.rescale:
            loss = loss * temperature**2
        if objective.ce_weight:
            hard = F.cross_entropy(logits, self.task.hard_labels(views))
            loss = loss + objective.ce_weight * hard
        return loss
