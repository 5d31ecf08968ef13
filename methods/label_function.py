"""Label function: labels as a fitted function of the view's geometry, a few numbers an image.

A label is a function of its view: which image, which part, which partner, which box. Stored
labels sample it; here its coefficients are shipped (`view_function` says of what), and it answers
for every view of the plan, so nothing is reused and nothing pruned. Labels of many epochs are
centred, turned into their principal directions (a basis shared by all), and fitted by ridge
regression; at high temperature that is nearly the student's own loss, since the divergence of
centred logits z of C classes is nearly |dz|^2 / (2 C T^2). The coefficients are rounded to steps
that move a label alike, whichever number of the geometry they multiply (reverse water-filling:
those that matter less than a step become 0), and range-coded by models that adapt as they go.
A batch of labels is then two small products: no network, no prior.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import ViewBatch
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import Json, LabelSource
from benchmark.labels.label_basis import centred, orthonormal, power_of, principal, shipped, span
from benchmark.labels.range_coding import MOST, Decoder, Encoder
from benchmark.labels.task import Amounts, LabelTask, TaskShape
from benchmark.labels.teacher_logits import teacher_logits
from benchmark.labels.view_function import fit, view_function

CONTAINER_BYTES = 1152  # the manifest and headers stay below this
USUAL_DIMS = 64
UNSEEN = 5  # epochs after those fitted, on which the fit is measured
ROWS = 64  # coefficients that are coded with the same models, before these adapt
SCALED = 1000  # views, at least, by which steps are scaled
FINEST, COARSEST = 2.0**-10, 2.0**6  # steps


@dataclass(frozen=True)
class Options:
    """How the function is fitted, and how finely it is shipped.

    Attributes:
        bytes: most that the coded coefficients take: the finest step that does is taken; 0 takes
            `step`. A byte budget sets it.
        step: of the coefficients, as what it moves a label by, as a share of the labels' root mean
            square.
        epochs: of the plan, whose labels it is fitted to.
        dims: coefficients a number of the geometry; 0 takes all of up to 64 classes, and 64 of
            more.
    """

    bytes: int = 0
    step: float = 0.1
    epochs: int = 50
    dims: int = 0

    def __post_init__(self) -> None:
        if self.bytes < 0 or self.dims < 0 or self.epochs < 1:
            raise ValueError(
                "bytes and dims must not be negative and epochs at least 1, got "
                f"{self.bytes}, {self.dims}, {self.epochs}"
            )
        if not FINEST <= self.step <= COARSEST:
            raise ValueError(f"step must be in {FINEST} to {COARSEST}, got {self.step}")


@dataclass(frozen=True)
class Extra:
    """What the manifest says beside the options.

    Attributes:
        most: largest magnitude of a rounded coefficient.
        power: root mean square of a centred logit.
        step: of the coefficients.
    """

    most: int
    power: float
    step: float

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MOST:
            raise ValueError(f"most must be in 1..{MOST}, got {self.most}")
        if not 0 < self.power < 1e6 or not FINEST <= self.step <= COARSEST:
            raise ValueError(
                f"power must be above 0 and below 1e6 and step in {FINEST} to {COARSEST}, got "
                f"{self.power}, {self.step}"
            )


class LabelFunction(LabelSource[Options]):
    """Fresh views every epoch, labelled by the function."""

    title = "Label function"
    paper = "labelbench, methods/label_function"
    space = "logits"

    def __init__(
        self, task: LabelTask, options: Options, code: bytes, basis: Tensor, extra: Extra
    ) -> None:
        super().__init__(task, options)
        self.code, self.basis, self.extra = code, basis, extra
        self.function = view_function(task, task.device)
        scales = step_scales(task) * extra.step
        whole = decoded(code, len(scales), len(basis), extra.most)
        logits = whole * scales[:, None] @ orthonormal(basis) * extra.power
        self.coefficients = logits.float().to(task.device)

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        if options.dims >= shape.classes > 1:
            raise UserError(
                f"label_function.dims is {options.dims}; labels of {shape.classes} classes have "
                f"{shape.classes - 1} once they are centred."
            )
        dims = options.dims or min(shape.classes - 1, USUAL_DIMS)
        options = replace(options, dims=dims, epochs=min(options.epochs, shape.epochs))
        if budget is None:
            return options
        room = budget - CONTAINER_BYTES - dims * shape.classes
        if room < 4:
            raise UserError(
                f"label_function cannot meet a budget of {budget:,} bytes: its basis takes "
                f"{dims * shape.classes:,} and the container up to {CONTAINER_BYTES:,}."
            )
        return replace(options, bytes=room)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        epochs = min(shape.epochs, options.epochs + UNSEEN)
        return Work((Passes(TEACHER, epochs * shape.images, shape.batch_size(0)),))

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        plan, function = task.plan, view_function(task, "cpu")
        epochs = min(plan.epochs, options.epochs + UNSEEN)
        found = list(teacher_logits(task, range(epochs * plan.batches), "label views"))
        fitted = found[: options.epochs * plan.batches]
        logits = centred(torch.cat([rows.cpu() for _, rows in fitted]))
        power, directions = power_of(logits), span(logits, options.dims)
        axes = directions @ principal(logits @ directions)
        basis = orthonormal(shipped(axes))
        design = function.design([views for views, _ in fitted])
        coefficients = fit(design, logits @ basis.T / power)
        code, most, step = coded(coefficients / step_scales(task)[:, None], options)
        made = cls(task, options, code, shipped(axes), Extra(most, power, step))
        made.notes = {"labels": len(logits)}
        if unseen := found[len(fitted) :]:
            made.notes["r2_unseen"] = _explained(made, unseen)
        return made

    def manifest(self) -> Mapping[str, Json]:
        return vars(self.extra)

    def tensors(self) -> Iterable[StoredTensor]:
        code = torch.from_numpy(np.frombuffer(self.code, np.uint8).copy())
        numbers = len(self.coefficients) * len(self.basis)
        yield StoredTensor("code", "values", code, numbers)
        yield StoredTensor("basis", "weights", self.basis)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        code, basis = shipped.tensors.get("code"), shipped.tensors.get("basis")
        if code is None or code.dtype != torch.uint8 or code.dim() != 1 or len(code) % 4:
            raise ArtefactError("The function's code is not a row of bytes, four a word.")
        shape = options.dims, task.classes
        if basis is None or basis.dtype != torch.int8 or basis.shape != shape:
            raise ArtefactError(f"The function's basis is not int8 {shape}.")
        return cls(task, options, code.numpy().tobytes(), basis, shipped.extra(Extra))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        design = self.function.design([views])
        return replace(design, values=design.values.float()).times(self.coefficients)


def step_scales(task: LabelTask) -> Tensor:
    """What each coefficient changes by where it moves a label by 1, float64 (size,).

    A label moves by a coefficient times what it multiplies, whose root mean square over some
    views of the plan counts.
    """
    plan = task.plan
    epochs = range(min(plan.epochs, -(-SCALED // plan.images)))
    views = [views for epoch in epochs for views in plan.epoch(epoch)]
    design = view_function(task, "cpu").design(views)
    usual = design.values.square().mean(0).sqrt().clamp_min(1e-3)
    return (1 / usual).repeat_interleave(torch.tensor(design.entities))


def coded(coefficients: Tensor, options: Options) -> tuple[bytes, int, float]:
    """Coefficients (size, dims) as bytes, with the largest magnitude and the step.

    Raises:
        UserError: not even the coarsest step fits into `options.bytes`.
    """

    def at(step: float) -> tuple[bytes, int, float]:
        whole = (coefficients / step).round().clamp(-MOST, MOST).long().numpy()
        most = max(1, int(abs(whole).max()))
        coder = Encoder(whole.shape[1], most)
        for start in range(0, len(whole), ROWS):
            coder.add(whole[start : start + ROWS])
        return coder.data(), most, step

    if not options.bytes:
        return at(options.step)
    fine, coarse, best = FINEST, COARSEST, None
    while coarse / fine > 1.01:
        tried = at((fine * coarse) ** 0.5)
        if len(tried[0]) <= options.bytes:
            best, coarse = tried, tried[2]
        else:
            fine = tried[2]
    if best is None:
        raise UserError(
            f"label_function.bytes is {options.bytes:,}, and its coarsest form takes "
            f"{len(at(COARSEST)[0]):,}: take more bytes, or fewer dims."
        )
    return best


def decoded(code: bytes, size: int, dims: int, most: int) -> Tensor:
    """The whole numbers of `coded`, int64 (size, dims)."""
    coder = Decoder(code, dims, most)
    starts = range(0, size, ROWS)
    return torch.from_numpy(np.concatenate([coder.take(min(ROWS, size - s)) for s in starts]))


def _explained(source: LabelFunction, unseen: list[tuple[ViewBatch, Tensor]]) -> float:
    """Share of the power of unseen views' centred labels that the function explains."""
    wrong = power = 0.0
    for views, rows in unseen:
        exact = centred(rows.cpu())
        found = source.targets(views.to(source.task.device), rows, 0).cpu()
        wrong += float((found - exact).square().sum())
        power += float(exact.square().sum())
    return 1 - wrong / power
