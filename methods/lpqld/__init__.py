"""LPQLD: few stored batches of labels, few logits each, reused under a falling temperature.

- Label pruning (`pool`): few batches of the plan are stored, and every epoch draws its own from
  them anew (LPLD's improved label pool).
- Label quantisation (`coding`): few logits of a label are stored, and renormalised (MR-k).
- Dynamic knowledge reuse (`labels/reuse`): a label is softened at a temperature that depends on the
  epoch, so that a label reused says something new.
- Calibrated alignment (there too): the student's own temperature is refitted once an epoch.

Each can be switched off: `quantise=none`, `schedule=none`, `calibrate=false`; with all three, and
`replacement=true`, this is LPLD. With `path`, the
labels are not made but taken from a folder in the form of SRe2L, LPLD or LPQLD.

Xiao and He, arXiv 2604.18135 (LPQLD), 2410.15919 (LPLD). Deviations from the released code:
views are not stored, since the plan's seed gives them back; class indices take as many bits as
the class count needs; the pool and its draws are seeded; `ms` and `smoothing` work at any
temperature; the reversed step schedule has the forward one's floor. On recipes that rescale
the loss by T squared (LPLD's for Tiny-ImageNet), labels of all classes are rescaled, by both sides'
temperatures; renormalised ones are not, as LPQLD's never are: a label without mass on the dropped
classes makes that factor a hundredfold step, and students stay at chance.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.needs import Needs
from benchmark.core.options import build
from benchmark.core.work import Work
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.exchange.official import open_folder
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import Json, LabelSource
from benchmark.labels.ensemble import labelling, needs_of, taught_by
from benchmark.labels.packing import MAX_WIDTH, packed_bytes, width_for
from benchmark.labels.relabelling import Relabelling
from benchmark.labels.reuse import calibrated, label_temperature
from benchmark.labels.stored_views import StoredViews
from benchmark.labels.task import Amounts, LabelTask, StoredViewCount, TaskShape
from benchmark.labels.top_targets import TopTargets

from .budget import kept_logits, within
from .coding import PARTS, CodedLabels, CodedWriter, Coding
from .options import Options
from .pool import PlannedViews, Pool, choose, score
from .supply import Imported, Made, check_theirs


@dataclass(frozen=True)
class Extra:
    """What the manifest says of stored views: the size of the largest batch."""

    batch_size: int

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= 2**MAX_WIDTH:
            raise ValueError(f"batch_size must be in 1..{2**MAX_WIDTH}, got {self.batch_size}")


class LPQLD(LabelSource[Options]):
    """A pool of stored batches of labels."""

    paper = "Xiao and He, Soft Label Pruning and Quantization (LPQLD), arXiv 2604.18135"
    imports = True

    def __init__(
        self,
        task: LabelTask,
        options: Options,
        stored: PlannedViews | StoredViews,
        labels: CodedLabels,
    ) -> None:
        super().__init__(task, options)
        self.stored, self.labels = stored, labels
        self.pool = Pool(
            stored.batches, task.plan.batches, options.granularity, options.replacement
        )

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        """Under a budget: the most logits at the given pruning; then more, or fewer, batches."""
        steps = available = shape.epochs * shape.batches
        known, theirs = shape.classes, None
        if options.path:
            theirs = open_folder(
                Path(options.path), shape.images, shape.resolution, classes=shape.classes
            )
            available, known = min(steps, theirs.batches), theirs.kept
            check_theirs(options, shape, theirs)
        group = 1 if options.granularity == "pool" else shape.batches
        sizes = range(group, available + 1, group)
        if not sizes:
            raise UserError(
                f"lpqld.granularity={options.granularity} needs a whole stored epoch, {group} "
                f"batches, and {options.path!r} holds {available}: take `pool`."
            )
        if options.batches > available:
            raise UserError(f"lpqld.batches is {options.batches}, but there are {available}.")
        ks = kept_logits(options, shape.classes, known)
        chosen = options.batches or round(options.keep * steps)
        size = sizes[max(0, bisect_right(sizes, chosen) - 1)]
        if budget is not None:
            size, k = within(budget, options, shape, sizes, size, ks, theirs)
        elif options.k or len(ks) == 1:
            k = ks[0]
        else:
            k = min(ks[-1], max(2, shape.classes // 10))
        return replace(options, batches=size, keep=size / steps, k=k)

    @classmethod
    def label_bytes(cls, options: Options, shape: TaskShape) -> int | None:
        if options.path or options.quantise == "adaptive":  # as many as the labels need
            return None
        batches = [shape.batch_size(n % shape.batches) for n in range(options.batches)]
        if options.select != "first" and len(set(batches)) > 1:  # depends on those chosen
            return None
        coding = Coding(shape.classes, options.quantise, options.k, options.values, 1.0, 1.0)
        numbers = 0
        if options.select != "first":
            numbers = packed_bytes(options.batches, width_for(shape.epochs * shape.batches))
        return coding.bytes(sum(batches)) + numbers

    @classmethod
    def stored_views(cls, options: Options, shape: TaskShape) -> StoredViewCount | None:
        if options.path or options.quantise in ("adaptive", "hard"):
            return None
        return StoredViewCount(options.batches, options.k)

    @classmethod
    def needs(cls, options: Options) -> Needs:
        if options.path:  # the teacher only tells whether labels and images belong together
            return Needs(teacher=True, files=(Path(options.path),))
        return needs_of(options.teachers)

    @classmethod
    def importing(cls, folder: Path, kept: int | None, options: Mapping[str, object]) -> Options:
        form = "none" if kept is None else "mr"
        wished = {"quantise": form, "keep": 1.0, **options, "path": str(folder)}
        if wished["quantise"] == form == "mr":
            wished = {"k": kept, **wished}
        return build(Options, wished, cls.name)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        if options.path:
            return Work()
        shape = amounts.shape
        batch = shape.batch_size(0)
        scored = 0 if options.select == "first" else shape.labels
        views = scored + options.batches * batch
        return Work((labelling(options.teachers, views, batch, amounts),))

    @classmethod
    def relabelling(cls, options: Options, plan: ViewPlan, seed: int) -> Relabelling | None:
        if options.path:
            return None
        numbers: Sequence[int] = range(plan.steps)  # to be scored, and then stored in part
        if options.select in ("first", "random"):
            numbers = chosen_of(options, plan, plan.steps, seed, ())
        return Relabelling(numbers, options.teachers)

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        task = taught_by(task, options.teachers)
        supply = Imported(task, options) if options.path else Made(task)
        scores = (
            score(options.select, logits, task.hard_labels(views.to(task.device)))
            for views, logits in supply.labels(range(supply.batches), "score batches")
        )
        chosen = chosen_of(options, task.plan, supply.batches, task.seed, scores)
        labels = CodedWriter(coding_of(options, task), task.workspace())
        for _, logits in supply.labels(chosen, f"label {len(chosen)} batches"):
            labels.add(logits)
        # The folder's name says where labels came from; its path is nobody else's business.
        named = replace(options, path=Path(options.path).name) if options.path else options
        return cls(task, named, supply.views(chosen), labels.labels())

    def manifest(self) -> Mapping[str, Json]:
        stored = self.stored
        return {"batch_size": stored.batch_size} if isinstance(stored, StoredViews) else {}

    def tensors(self) -> Iterable[StoredTensor]:
        yield from self.labels.tensors()
        yield from self.stored.tensors()

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        parts = {name: part for name, part in shipped.tensors.items() if name in PARTS}
        if options.path:
            largest = shipped.extra(Extra).batch_size
            images, side = len(task.images), task.plan.resolution
            stored = StoredViews.restore(shipped.tensors, images, side, largest)
        else:
            # Each takes bits: what cannot be there is refused before it is counted up.
            if options.batches > 8 * sum(t.nbytes for t in shipped.tensors.values()):
                raise ArtefactError(f"{options.batches} batches of labels are more than it holds.")
            numbers = shipped.tensors.get("batches")
            stored = PlannedViews.restore(task.plan, options.batches, numbers)
        if not stored.batches:
            raise ArtefactError("It holds no batch of labels.")
        labels = CodedLabels(coding_of(options, task), parts)
        labels.check(stored.rows(stored.batches - 1).stop)
        return cls(task, options, stored, labels.to(task.device))

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        for position in range(self.stored.batches):
            logits = self.labels.logits(self.stored.rows(position), self.task.device)
            yield self.stored.batch(position), logits.cpu()

    @property
    def seeded(self) -> bool:
        return True

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        """As many batches as the plan has, drawn from the stored ones."""
        for position in self.pool.draws(self.task.seed, epoch):
            yield self.stored.batch(position)

    def temperature(self, epoch: int) -> float:
        """Of the labels in `epoch` (from 0)."""
        options, epochs = self.options, self.task.plan.epochs
        return label_temperature(
            options.schedule,
            self.task.objective.temperature,
            options.floor,
            options.decay,
            max(1, round(options.interval * epochs)),
            epoch,
            epochs,
        )

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        logits = self.labels.logits(self.stored.rows(views.batch), self.task.device)
        return F.softmax(logits * self.task.objective.label_scale / self.temperature(epoch), 1)

    def supply(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor | TopTargets:
        # With few classes beside the kept ones, dense targets cost no more.
        if not self.labels.sparse or SPARSE_FROM * self.options.k > self.task.classes:
            return self.targets(views, images, epoch)
        top = self.labels.top(self.stored.rows(views.batch), self.task.device)
        return top.targets(self.task.objective.label_scale / self.temperature(epoch))

    def loss(
        self, logits: Tensor, targets: Tensor | TopTargets, views: ViewBatch, epoch: int
    ) -> Tensor:
        """KL to the student's softmax at the calibrated temperature, or at the labels' own."""
        of_labels = of_student = self.temperature(epoch)
        if self.options.calibrate:
            of_student = calibrated(self.training_state, logits, targets, epoch)
        log_probs = F.log_softmax(logits / of_student, 1)
        if isinstance(targets, Tensor):
            loss = F.kl_div(log_probs, targets, reduction="batchmean")
        else:
            loss = targets.divergence(log_probs)
        if self.task.objective.rescale and self.options.quantise == "none":
            loss = loss * of_labels * of_student
        return loss

    def probabilities(self, targets: Tensor | TopTargets) -> Tensor:
        return targets if isinstance(targets, Tensor) else targets.dense()


SPARSE_FROM = 8  # times as many classes as are kept


def chosen_of(
    options: Options, plan: ViewPlan, available: int, seed: int, scores: Iterable[float]
) -> list[int]:
    """The batches to store, of so many; see `choose`."""
    group = 1 if options.granularity == "pool" else plan.batches
    return choose(options.select, options.order, options.batches, group, available, seed, scores)


def coding_of(options: Options, task: LabelTask) -> Coding:
    """How labels of a task are stored under these options."""
    return Coding(
        task.classes,
        options.quantise,
        options.k,
        options.values,
        options.mass,
        task.objective.temperature,
    )
