"""SCORE's codec: each image's labels as a low-rank matrix and a few entries, by robust PCA.

Yuan et al., "SCORE: Soft Label Compression-Centric Dataset Condensation via Coding Rate
Optimization" (arXiv 2503.13935): the labels of an image's views, a row each, make a matrix that
is nearly low-rank; robust PCA takes it apart into a low-rank and a sparse one, and both are stored
small. No code was published when this was written, and of the text only the abstract and summaries
were at hand. What differs or was left open, and our choice:

- images are the run's. Theirs are chosen by their coding rate, among other things so that labels
  become low-rank; that half of the method is not here.
- what is taken apart are logits, centred over the classes where the recipe's loss is a divergence,
  which does not see their mean.
- rank and share of sparse entries are options, the same for all images; the entries kept are the
  largest of the sparse part, and the factors are fitted to what is left without them.
- factors and entries are stored as int8 or fp16, positions in as few bits as a matrix needs.
- views take no bytes: the plan's seed gives them back.
- a byte budget takes more terms, then more entries, where all epochs fit; where they do not, fewer
  epochs, whose batches are reused as in `hald`. The paper prunes none; but with one term a third of
  the power of the digits' labels is lost, with four terms a fifteenth.
- temperature, loss and schedule are the recipe's.

At load all is decoded once, if that fits into memory, so that a step costs what it costs with
`soft`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.progress import track
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.container import container_bytes
from benchmark.labels.contract import LabelSource
from benchmark.labels.label_basis import LEAST_POWER, centred
from benchmark.labels.label_pool import LabelPool
from benchmark.labels.packing import MAX_WIDTH
from benchmark.labels.relabelling import Relabelling
from benchmark.labels.task import Amounts, LabelTask, StoredViewCount, TaskShape
from benchmark.labels.teacher_logits import RESIDENT_BYTES, teacher_logits

from .coding import Coding, Matrices, Values

LONGEST = 0.0012345678901234567  # a share of as many digits as there are
BLOCK_NUMBERS = 2**23  # of the matrices that are taken apart at once
MEASURED = 2**12  # labels whose error is measured at once


@dataclass(frozen=True)
class Options:
    """What is kept of each image's matrix of labels.

    Attributes:
        rank: terms of the low-rank part, at least 1; no more than its views or classes. A byte
            budget takes more where all epochs fit.
        sparsity: share of the entries that are stored beside it, 0 to 0.5; none where the rank is
            full. A byte budget takes more of them for what the rank leaves.
        epochs: of the plan, from its first on, whose labels are stored; 0 for all. A byte budget
            takes fewer where all do not fit.
        values: `int8` or `fp16`, for factors and entries.
    """

    rank: int = 4
    sparsity: float = 0.01
    epochs: int = 0
    values: Values = "int8"

    def __post_init__(self) -> None:
        if self.rank < 1 or self.epochs < 0:
            raise ValueError(
                f"rank must be at least 1 and epochs not negative, got {self.rank}, {self.epochs}"
            )
        if not 0 <= self.sparsity <= 0.5:
            raise ValueError(f"sparsity must be a share of 0 to 0.5, got {self.sparsity}")


class Score(LabelSource[Options]):
    """Rows of the images' matrices, replayed."""

    title = "SCORE"
    paper = "Yuan et al., SCORE, arXiv 2503.13935"
    space = "logits"

    def __init__(self, task: LabelTask, options: Options, parts: dict[str, Tensor]) -> None:
        """Keep `parts`, as `Coding.encode` gives them."""
        super().__init__(task, options)
        self.parts = parts
        self.pool = LabelPool(task.plan, options.epochs * task.plan.batches)
        self.matrices = Matrices(coding_of(options, task.shape), parts, task.device)
        self._table: Tensor | None = None

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        if options.epochs > shape.epochs:
            raise UserError(f"score.epochs is {options.epochs}, but there are {shape.epochs}.")
        numbers = shape.epochs * shape.classes
        if numbers > 2**MAX_WIDTH:
            raise UserError(
                f"score tells at most {2**MAX_WIDTH:,} entries of a matrix apart, and "
                f"{shape.epochs} views of {shape.classes} classes have {numbers:,}."
            )
        wished = replace(options, epochs=options.epochs or shape.epochs)
        return fitting(wished, shape) if budget is None else within(budget, wished, shape)

    @classmethod
    def label_bytes(cls, options: Options, shape: TaskShape) -> int:
        return coding_of(options, shape).bytes

    @classmethod
    def stored_views(cls, options: Options, shape: TaskShape) -> StoredViewCount:
        return StoredViewCount(options.epochs * shape.batches, shape.classes)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        return Work((Passes(TEACHER, options.epochs * shape.images, shape.batch_size(0)),))

    @classmethod
    def relabelling(cls, options: Options, plan: ViewPlan, seed: int) -> Relabelling:
        return Relabelling(range(options.epochs * plan.batches))

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        coding = coding_of(options, task.shape)
        logits = matrices_of(task, options.epochs)
        each = max(1, BLOCK_NUMBERS // prod(logits.shape[1:]))
        # Double precision, which not every device has.
        device = task.device if task.device.type == "cuda" else torch.device("cpu")
        blocks = (
            block.to(device, torch.float64)
            for block in track(logits.split(each), "take labels apart")
        )
        if task.objective.loss == "kl":
            blocks = (centred(block.flatten(0, 1)).view_as(block) for block in blocks)
        made = cls(task, options, coding.encode(blocks))
        made.notes = {"squared_error": made._squared_error(logits)}
        return made

    def tensors(self) -> Iterable[StoredTensor]:
        return coding_of(self.options, self.task.shape).tensors(self.parts)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        plan = task.plan
        if not 1 <= options.epochs <= plan.epochs:
            raise ArtefactError(
                f"{options.epochs} epochs are stored where the plan has {plan.epochs}."
            )
        if options != fitting(options, task.shape):
            raise ArtefactError(
                f"A rank of {options.rank} with a sparsity of {options.sparsity} is more than "
                f"matrices of {options.epochs} views and {task.classes} classes have."
            )
        coding_of(options, task.shape).check(shipped.tensors)
        made = cls(task, options, shipped.tensors)
        if 2 * options.epochs * len(task.images) * task.classes <= RESIDENT_BYTES:
            every = torch.arange(len(task.images), device=task.device)
            rows = [made.matrices.rows(view, every).half() for view in range(options.epochs)]
            made._table = torch.stack(rows)
        return made

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        for position in range(self.pool.size):
            views = self.pool.batch(position)
            yield views, self.logits(position, views.index.to(self.task.device)).cpu()

    @property
    def seeded(self) -> bool:
        return not self.pool.whole

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        return self.pool.replay(self.task.seed, epoch)

    def logits(self, position: int, index: Tensor) -> Tensor:
        """Of a stored batch, which shows the images `index`; float32 (B, C), on the device."""
        view = position // self.task.plan.batches
        if self._table is not None:
            return self._table[view][index].float()
        return self.matrices.rows(view, index)

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.logits(views.batch, views.index)

    def _squared_error(self, logits: Tensor) -> float:
        """Of the centred labels, as a share of their power."""
        every = torch.arange(len(logits), device=self.task.device)
        wrong = power = 0.0
        for view in range(logits.shape[1]):
            for some in every.split(MEASURED):
                exact = centred(logits[some.cpu(), view])
                found = centred(self.matrices.rows(view, some).cpu())
                wrong += float((found - exact).square().sum())
                power += float(exact.square().sum())
        return wrong / max(power, LEAST_POWER)


def coding_of(options: Options, shape: TaskShape) -> Coding:
    """How the labels of a task are stored under these options, which are resolved."""
    numbers = options.epochs * shape.classes
    return Coding(
        shape.images,
        options.epochs,
        shape.classes,
        options.rank,
        round(options.sparsity * numbers),
        options.values,
    )


def fitting(options: Options, shape: TaskShape) -> Options:
    """The same with no more terms than there can be, and no entries beside all."""
    most = min(options.epochs, shape.classes)
    return options if options.rank < most else replace(options, rank=most, sparsity=0.0)


def within(budget: int, wished: Options, shape: TaskShape) -> Options:
    """What a byte budget buys: more terms of all epochs, or fewer epochs; then entries.

    Raises:
        UserError: not even one epoch fits.
    """

    def bytes_of(options: Options) -> int:
        coding = coding_of(options, shape)
        longest = replace(options, sparsity=LONGEST) if options.sparsity else options
        return coding.bytes + container_bytes("score", longest, shape, coding.stand_ins(), budget)

    def fits(options: Options) -> bool:
        # Most are refused without a container, which takes longer to foretell.
        return coding_of(options, shape).bytes <= budget and bytes_of(options) <= budget

    least = fitting(replace(wished, epochs=1), shape)
    if not fits(least):
        raise UserError(
            f"score cannot meet a budget of {budget:,} bytes: the least it can take is "
            f"{bytes_of(least):,}, for one label of each of {shape.images} images and the "
            "container."
        )
    lasts = range(wished.epochs, 0, -1)
    some = (fitting(replace(wished, epochs=last), shape) for last in lasts)
    found = next(filter(fits, some))
    most = min(found.epochs, shape.classes)
    while found.epochs == wished.epochs and found.rank < most:
        more = fitting(replace(found, rank=found.rank + 1), shape)
        if not fits(more):
            break
        found = more
    if found.rank == most:
        return found
    numbers = found.epochs * shape.classes
    high = numbers // 2 + 1
    low = min(round(found.sparsity * numbers), high - 1)
    while high - low > 1:  # so many entries fit, so many do not
        middle = (low + high) // 2
        if fits(replace(found, sparsity=middle / numbers)):
            low = middle
        else:
            high = middle
    return replace(found, sparsity=low / numbers)


def matrices_of(task: LabelTask, epochs: int) -> Tensor:
    """The teacher's logits of the plan's first epochs, image by image, fp16 (N, epochs, C).

    They lie in a file of the workspace, which is mapped into memory.
    """
    shape = len(task.images), epochs, task.classes
    file = str(task.workspace() / "logits")
    mapped = torch.from_file(file, shared=True, size=prod(shape), dtype=torch.float16).view(shape)
    numbers = range(epochs * task.plan.batches)
    for number, (views, rows) in enumerate(teacher_logits(task, numbers, "label the views")):
        mapped[views.index, number // task.plan.batches] = rows.cpu()
    return mapped
