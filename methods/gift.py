"""GIFT: stored soft labels, refined by the images' classes, and met in direction alone.

Shang, Sun and Lin, "GIFT: Unlocking Full Potential of Labels in Distilled Dataset at Near-zero
Cost" (ICLR 2025, arXiv 2405.14736): a label is (1 - w) of the teacher's logits at length 1 plus w
of the smoothed hard label at length 1, and the loss is 1 minus its cosine with the student's
logits. Nothing more is stored than `soft` stores. After their code, but for this:

- their code adds w of the hard label to all of the soft one; the paper's formula, here, takes
  (1 - w) of it. A cosine only sees their ratio: theirs is w / (1 + w) here, 0.0909 for 0.1.
- labels are stored for the views of the plan; theirs are the teacher's, online.
- views may be mixed, as the recipe has it (theirs are not); hard labels then are blended alike.
- all else of the training is the recipe's, but for its loss: temperature, scale of the labels
  and added cross-entropy have no say.
- `keep` and byte budgets store fewer batches, reused as in `hald`; the paper has no such thing.
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
from benchmark.labels.teacher_logits import ahead, kept_logits
from benchmark.labels.writer import Stored


@dataclass(frozen=True)
class Options:
    """How labels are refined, and how many are stored.

    Attributes:
        weight: of the hard label in the refined one (gamma of the paper), 0 to 1.
        smoothing: share of a hard label that goes to the other classes, 0 to 1.
        keep: share of all batches of the plan that are stored; a byte budget chooses the most
            that fit.
        batches: how many are stored, instead of a share; 0 goes by `keep`.
    """

    weight: float = 0.1
    smoothing: float = 0.1
    keep: float = 1.0
    batches: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1 or not 0 <= self.smoothing <= 1:
            raise ValueError(
                f"weight and smoothing must be in [0, 1], got {self.weight}, {self.smoothing}"
            )
        if not 0 < self.keep <= 1 or self.batches < 0:
            raise ValueError(
                "keep must be a share above 0 and at most 1, and batches not negative, got "
                f"{self.keep}, {self.batches}"
            )


class GIFT(LabelSource[Options]):
    """The teacher's logits, replayed in order; from a pool where only some are stored."""

    paper = "Shang, Sun and Lin, GIFT, ICLR 2025, arXiv 2405.14736"
    space = "logits"

    def __init__(self, task: LabelTask, options: Options, logits: Tensor | Stored) -> None:
        super().__init__(task, options)
        self.logits, self._ahead = logits, ahead(logits, task.device)
        self.pool = LabelPool(task.plan, options.batches)

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        steps = shape.epochs * shape.batches
        if options.batches > steps:
            raise UserError(f"gift.batches is {options.batches}, but there are {steps}.")
        if budget is not None:
            longest = replace(options, keep=0.12345678901234567, batches=steps)
            batches = batches_within(cls.name, longest, shape, budget, steps, "logits")
        else:
            batches = options.batches or max(1, round(options.keep * steps))
        return replace(options, batches=batches, keep=batches / steps)

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
        return cls(task, options, kept_logits(task, options.batches))

    def tensors(self) -> Iterable[StoredTensor]:
        yield StoredTensor("logits", "values", self.logits)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        return cls(task, options, restored(task, options.batches, shipped, "logits"))

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        for position in range(self.pool.size):
            yield self.pool.batch(position), self.logits[self.pool.rows(position)].float().cpu()

    @property
    def seeded(self) -> bool:
        return not self.pool.whole

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        return self.pool.replay(self.task.seed, epoch)

    def expect(self, views: ViewBatch) -> None:
        if self._ahead is not None:
            self._ahead.expect(self.pool.rows(views.batch))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        rows = (self._ahead or self.logits)[self.pool.rows(views.batch)]
        return rows.to(self.task.device, non_blocking=True).float()

    def loss(self, logits: Tensor, targets: Tensor, views: ViewBatch, epoch: int) -> Tensor:
        """1 minus the mean cosine of the student's logits with the refined labels."""
        options = self.options
        labels = refined(targets, self.task.hard_labels(views), options.weight, options.smoothing)
        return 1 - F.cosine_similarity(logits, labels, dim=1).mean()


def refined(soft: Tensor, hard: Tensor, weight: float, smoothing: float) -> Tensor:
    """GIFT's label refinement; the direction of each row counts, not its length; (B, C).

    Args:
        soft: the teacher's logits, (B, C).
        hard: one-hot labels, blended by the mix, (B, C); of at least two classes.
        weight: of the hard part.
        smoothing: share of a hard label that goes evenly to the other classes.
    """
    spread = smoothing / (hard.shape[1] - 1)
    smoothed = spread + (1 - smoothing - spread) * hard
    return weight * F.normalize(smoothed, dim=1) + (1 - weight) * F.normalize(soft, dim=1)
