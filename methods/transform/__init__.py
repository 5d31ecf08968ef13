"""Transform: a transform coder for the labels of few views, each predicted from those before.

Labels of a view are close to a function of its geometry and its images, and students do better
with few exact labels, reused, than with a smooth function of all views (whose errors come again
whenever an image does). So the first batches of the plan are coded, in order, as video frames
are: predicted from what is decoded already (`view_kernel`), what is left is turned into the
principal directions of the residuals, rounded to one step for all coefficients (what is least for
a given squared error: reverse water-filling) with a dead zone, and range-coded by models that
adapt as they go (`range_coding`). Views take no bytes, nor do predictor and models. At load all
is decoded; a step then costs what it costs with stored labels.

Squared error is the student's own measure where the temperature is high: with centred logits z of
C classes the divergence at temperature T is nearly |dz|^2 / (2 C T^2).

A byte budget buys coarse labels of more and more views until every image has `ENOUGH` of them;
then finer ones: what rounding leaves out of few labels costs students more than views they never
saw (results/FINDINGS.md has the trial, on training images kept apart).

Epochs draw from the coded batches; a batch comes again, as likely as not, mirrored, with the
label it has: the teacher's labels hardly change by it, and for no bytes there are twice as many
views.

What students make of a decoded label is another matter, and takes no bytes: LPQLD's few
renormalised logits (`k`), its falling temperature (`schedule`) and its alignment (`calibrate`) are
options, off by default, so that code and target can be judged apart.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.progress import track
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import MIRROR, ViewBatch, random_words, unit
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import Json, LabelSource
from benchmark.labels.label_basis import orthonormal
from benchmark.labels.label_pool import LabelPool
from benchmark.labels.range_coding import MOST
from benchmark.labels.reuse import DECAY, FLOOR, INTERVAL, calibrated, label_temperature
from benchmark.labels.task import Amounts, LabelTask, TaskShape
from benchmark.labels.teacher_logits import resident, teacher_logits
from benchmark.labels.view_function import view_function
from benchmark.labels.view_kernel import ViewKernel
from benchmark.labels.writer import TensorWriter

from .coder import Coded, Transform, basis_of, decode, encode, largest
from .options import Options

CONTAINER_BYTES = 1152  # the manifest and headers stay below this
USUAL_DIMS = 64
SAMPLE = 3200  # labels, at least, that the basis is of
STEPS = (0.15, 0.3, 0.6)  # from the finest; squared error of some 0.2, 0.8 and 3 % of the power
ENOUGH = 25  # views an image, after which finer labels are worth more than further views
FINEST = 0.01  # step; labels are exact to the eye


@dataclass(frozen=True)
class Extra:
    """What the manifest says beside the options.

    Attributes:
        batches: that are coded.
        most: largest magnitude of a rounded residual.
        power, step: of the labels and of the quantiser; see `coder.Transform`.
    """

    batches: int
    most: int
    power: float
    step: float

    def __post_init__(self) -> None:
        if self.batches < 1 or not 1 <= self.most <= MOST:
            raise ValueError(
                f"batches must be at least 1 and most in 1..{MOST}, got {self.batches}, {self.most}"
            )
        if not 0 < self.power < 1e6 or not 0 < self.step < 1e6:
            raise ValueError(
                f"power and step must be above 0 and below 1e6, got {self.power}, {self.step}"
            )


class TransformCoder(LabelSource[Options]):
    """Few batches of coded labels, reused."""

    title = "Transform coder"
    paper = "labelbench, methods/transform"
    space = "logits"

    def __init__(
        self, task: LabelTask, options: Options, code: bytes, basis: Tensor, extra: Extra
    ) -> None:
        super().__init__(task, options)
        self.code, self.basis, self.extra = code, basis, extra
        self.pool = LabelPool(task.plan, extra.batches)
        self._coefficients: Tensor | None = None

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        steps, dims = shape.epochs * shape.batches, options.dims
        if options.batches > steps:
            raise UserError(f"transform.batches is {options.batches}, but there are {steps}.")
        if options.k > shape.classes:
            raise UserError(f"transform.k is {options.k}, but there are {shape.classes} classes.")
        if dims >= shape.classes > 1:
            raise UserError(
                f"transform.dims is {dims}; labels of {shape.classes} classes have "
                f"{shape.classes - 1} once they are centred."
            )
        dims = dims or min(shape.classes - 1, USUAL_DIMS)
        options = replace(options, dims=dims)
        if budget is None:
            return options
        room = budget - CONTAINER_BYTES - dims * shape.classes
        least = 4 * shape.batch_size(0)  # about 30 bits a label, before anything is known
        if room < least:
            raise UserError(
                f"transform cannot meet a budget of {budget:,} bytes: the least it can take is "
                f"about {budget - room + least:,}, for one batch of labels, the basis "
                f"({dims * shape.classes:,}) and the container."
            )
        return replace(options, bytes=room)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        batches = options.batches or shape.epochs * shape.batches
        batch = shape.batch_size(0)
        return Work((Passes(TEACHER, batches * batch, batch),))

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        if task.objective.loss == "mse" and not options.as_they_are:
            raise UserError(
                "transform.k, schedule and calibrate are for a recipe whose loss is a divergence, "
                "not squared errors of logits."
            )
        plan, kernel = task.plan, kernel_of(task, options)
        last = options.batches or plan.steps
        sample = range(min(last, -(-SAMPLE // plan.batch_size)))
        found = list(teacher_logits(task, sample, "label a sample of views"))
        logits = torch.cat([rows for _, rows in found]).cpu()
        whole, power = basis_of([(v, rows.cpu()) for v, rows in found], kernel, options.dims)
        basis, labels = orthonormal(whole), _Labels(task, last)

        def at(step: float) -> tuple[Coded, Transform]:
            transform = Transform(basis, power, step, largest(logits, basis, power, step))
            return encode(labels, transform, kernel, options.rounding, options.bytes), transform

        steps = (options.step,) if options.step else STEPS if options.bytes else STEPS[-1:]
        for step in steps:
            coded, transform = at(step)
            if coded.batches == last or coded.batches * plan.batch_size >= ENOUGH * plan.images:
                break
        if coded.batches == 0:
            raise UserError(
                f"transform.bytes is {options.bytes:,}, which does not hold one batch of "
                f"{plan.batch_size} labels: take more bytes, or a step coarser than "
                f"{transform.step}."
            )
        fine, coarse = FINEST, transform.step
        while options.bytes and coded.batches == last and coarse / fine > 1.05:
            finer = at((fine * coarse) ** 0.5)
            if finer[0].batches == last:
                (coded, transform), coarse = finer, finer[1].step
            else:
                fine = finer[1].step
        extra = Extra(coded.batches, transform.most, power, transform.step)
        made = cls(task, options, coded.data, whole, extra)
        made.notes = {
            "labels": made.pool.rows(coded.batches - 1).stop,
            "squared_error": coded.squared_error,
        }
        return made

    def manifest(self) -> Mapping[str, Json]:
        return vars(self.extra)

    def tensors(self) -> Iterable[StoredTensor]:
        code = torch.from_numpy(np.frombuffer(self.code, np.uint8).copy())
        labels = self.pool.rows(self.extra.batches - 1).stop
        yield StoredTensor("code", "values", code, labels * len(self.basis))
        yield StoredTensor("basis", "weights", self.basis)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        extra = shipped.extra(Extra)
        if extra.batches > task.plan.steps:
            raise ArtefactError(
                f"{extra.batches} batches are coded where the plan has {task.plan.steps}."
            )
        code, basis = shipped.tensors.get("code"), shipped.tensors.get("basis")
        if code is None or code.dtype != torch.uint8 or code.dim() != 1 or len(code) % 4:
            raise ArtefactError("The labels' code is not a row of bytes, four a word.")
        shape = options.dims, task.classes
        if basis is None or basis.dtype != torch.int8 or basis.shape != shape:
            raise ArtefactError(f"The labels' basis is not int8 {shape}.")
        made = cls(task, options, code.numpy().tobytes(), basis, extra)
        _ = made.coefficients  # here, and not at the first step
        return made

    @property
    def transform(self) -> Transform:
        """What turns coefficients into logits."""
        extra = self.extra
        return Transform(orthonormal(self.basis), extra.power, extra.step, extra.most)

    @property
    def coefficients(self) -> Tensor:
        """Of all coded labels in order, decoded once, float32 (n, dims), on the device."""
        if self._coefficients is None:
            batches = (self.pool.batch(n) for n in range(self.pool.size))
            kernel = kernel_of(self.task, self.options)
            decoded = decode(self.code, batches, self.transform, kernel)
            rows = torch.cat([c.float() for c in track(decoded, "decode", self.pool.size)])
            self._coefficients = resident(rows, self.task.device)
            self._back = (self.transform.basis * self.extra.power).float().to(self.task.device)
        return self._coefficients

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        for position in range(self.pool.size):
            views = self.pool.batch(position)
            yield views, self.logits(position).cpu()

    @property
    def seeded(self) -> bool:
        return True

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        """As many batches as the plan has, drawn from the coded ones."""
        seed, plan = self.task.seed, self.task.plan
        chances = unit(random_words(seed, epoch, 0, MIRROR, plan.batches))
        mirror = self.options.mirror and 0 < plan.augmentation.flip < 1
        for views, chance in zip(self.pool.views(seed, epoch), chances, strict=True):
            yield views.mirrored() if mirror and chance < 0.5 else views

    def logits(self, position: int) -> Tensor:
        """Of one coded batch, float32 (B, C), on the device."""
        rows = self.coefficients[self.pool.rows(position)]
        return rows.to(self.task.device, non_blocking=True) @ self._back

    def temperature(self, epoch: int) -> float:
        """Of the labels in `epoch` (from 0)."""
        start, epochs = self.task.objective.temperature, self.task.plan.epochs
        interval = max(1, round(INTERVAL * epochs))
        return label_temperature(
            self.options.schedule, start, FLOOR, DECAY, interval, epoch, epochs
        )

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        """Logits that the recipe's temperature makes targets of: of another, scaled to it."""
        logits = self.logits(views.batch)
        if self.options.k:
            kept = logits.topk(self.options.k, 1)
            logits = torch.full_like(logits, -torch.inf).scatter(1, kept.indices, kept.values)
        if self.options.schedule != "none":
            logits = logits * (self.task.objective.temperature / self.temperature(epoch))
        return logits

    def loss(self, logits: Tensor, targets: Tensor, views: ViewBatch, epoch: int) -> Tensor:
        """The recipe's; with LPQLD's target, its: KL at the labels' temperature, or aligned."""
        if self.options.as_they_are:
            return super().loss(logits, targets, views, epoch)
        of_labels = of_student = self.temperature(epoch)
        probabilities = self.probabilities(targets)
        if self.options.calibrate:
            of_student = calibrated(self.training_state, logits, probabilities, epoch)
        log_probs = F.log_softmax(logits / of_student, 1)
        loss = F.kl_div(log_probs, probabilities, reduction="batchmean")
        if self.task.objective.rescale and not self.options.k:
            loss = loss * of_labels * of_student
        return loss


def kernel_of(task: LabelTask, options: Options) -> ViewKernel | None:
    """What labels of this task are predicted by, if they are."""
    if not options.predict:
        return None
    return ViewKernel(task.images.pixels.cpu(), task.plan, view_function(task, "cpu"))


class _Labels:
    """The teacher's labels of the plan's first batches, made once, as far as they are asked for."""

    def __init__(self, task: LabelTask, batches: int) -> None:
        self._task, self._made = task, 0
        self._rest = teacher_logits(task, range(batches), f"code up to {batches} batches")
        self._writer = TensorWriter(task.workspace() / "logits", torch.float16, (task.classes,))

    def __iter__(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        plan, stored = self._task.plan, self._writer.stored()
        for number in range(self._made):
            at = divmod(number, plan.batches)
            yield plan.batch(*at), stored[plan.rows(*at)]
        for views, rows in self._rest:
            self._writer.add(rows)
            self._made += 1
            yield views, rows.cpu()
