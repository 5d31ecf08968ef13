"""A fitted `ViewFunction` as bytes: rounded coefficients, range-coded, and the basis they are of.

Labels of many views are centred, turned into their principal directions, and fitted by ridge
regression. Coefficients are rounded to steps that move a label alike, whichever number of the
geometry they multiply (reverse water-filling: those that matter less than a step become 0), and
range-coded by models that adapt as they go.

Of more than `USUAL_DIMS` classes the basis would take most of a small budget if it had all
directions, and few directions miss much of the labels; so bytes that are limited are shared out
between rows of the basis and finer coefficients, as leaves least squared error (`water_filling`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..core.errors import ArtefactError, UserError
from ..data.views import ViewBatch, ViewPlan
from .artefact import Artefact, StoredTensor
from .container import container_bytes, like, stand_in
from .label_basis import LEAST_POWER, centred, orthonormal, shipped, strongest
from .range_coding import MOST, Decoder, Encoder
from .task import LabelTask, TaskShape
from .teacher_logits import kept_logits
from .view_function import (
    ARRAYS,
    OF_IMAGE,
    SOLVED_BYTES,
    Design,
    ViewFunction,
    fit,
    view_function,
)
from .water_filling import filled
from .writer import Stored

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

USUAL_DIMS = 64
UNSEEN = 5  # epochs after those fitted, on which a fit is measured
ROWS = 64  # coefficients that are coded with the same models, before these adapt
SCALED = 1000  # views, at least, by which steps are scaled
FINEST, COARSEST = 2.0**-10, 2.0**6  # steps
TRIED = tuple(2.0 ** (half / 2) for half in range(-20, 13))  # steps that dims are chosen with
LONGEST = {"most": 12345, "power": 0.01234, "step": 0.01234}  # of what a manifest says


@dataclass(frozen=True)
class Labels:
    """The teacher's labels of some of a plan's batches: on disk, since they outgrow memory.

    Attributes:
        stored: fp16 (n, C), of the plan's batches from the first on.
        batches: which of them, counted from 0 through all epochs.
    """

    plan: ViewPlan
    stored: Stored
    batches: range

    @property
    def count(self) -> int:
        """How many labels."""
        return sum(len(views) for views in self.views())

    def views(self) -> Iterator[ViewBatch]:
        """Of each batch."""
        return (self.plan.batch(*divmod(number, self.plan.batches)) for number in self.batches)

    def __iter__(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        """Views, and their centred logits, float64 (B, C)."""
        for views in self.views():
            yield views, centred(self.stored[self.plan.rows(views.epoch, views.batch)])


@dataclass(frozen=True)
class Extra:
    """What a manifest says of a coded function.

    Attributes:
        most: largest magnitude of a rounded coefficient.
        power: root mean square of a centred logit.
        step: of the coefficients, as what it moves a label by, as a share of `power`.
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


class CodedFunction:
    """The function of one task's images, as it is shipped and as it answers.

    Args:
        code: the rounded coefficients.
        basis: whole numbers, int8 (dims, C); see `label_basis.orthonormal`.
    """

    def __init__(self, task: LabelTask, code: bytes, basis: Tensor, extra: Extra) -> None:
        self.code, self.basis, self.extra = code, basis, extra
        self.function: ViewFunction = view_function(task, task.device)
        self._back = (orthonormal(basis) * extra.power).float().to(task.device)
        scales = step_scales(task) * extra.step
        coefficients = decoded(code, scales, len(basis), extra.most)
        self.coefficients = coefficients.to(task.device)

    @classmethod
    def fit(
        cls, task: LabelTask, labels: Labels, dims: int, step: float, room: int
    ) -> "CodedFunction":
        """Of these labels of the teacher.

        Args:
            dims: coefficients a number of the geometry; 0 for as many as `room` makes worth it.
            step: see `Extra`; where there is `room`, the finest that fits takes its place.
            room: bytes of the coded coefficients, and of the basis too where `dims` is 0; 0 for as
                many as they take.

        Raises:
            UserError: not even the coarsest step fits.
        """
        moment, count = torch.zeros(task.classes, task.classes, dtype=torch.float64), 0
        for _, logits in labels:
            moment += logits.T @ logits
            count += logits.numel()
        power = rounded(max(float(moment.trace() / count) ** 0.5, LEAST_POWER))
        most = dims or most_dims(task.classes, room)
        directions = strongest(moment, most)
        whole = shipped(directions @ strongest(directions.T @ moment @ directions, most))
        basis = orthonormal(whole)
        design = view_function(task, "cpu").design(list(labels.views()))
        scales = step_scales(task)[:, None]

        def fitted(rows: Tensor) -> Tensor:
            return fit(design, torch.cat([logits @ rows.T / power for _, logits in labels]))

        if dims:
            coefficients = fitted(basis)
        else:
            blocks = map(fitted, basis.split(USUAL_DIMS))
            coefficients = _worth_it(blocks, design, scales, task.classes, room)
            whole = whole[: coefficients.shape[1]]
            room = max(1, room - whole.numel())  # 0 would be no limit
        code, largest, step = coded(coefficients.div_(scales), step, room)
        return cls(task, code, whole, Extra(largest, power, step))

    @classmethod
    def restore(cls, task: LabelTask, dims: int, stored: Artefact) -> "CodedFunction":
        """From what `tensors` gave, and the manifest.

        Raises:
            ArtefactError: code or basis are of another type or shape.
        """
        code, basis = code_and_basis(stored, dims, task.classes, "function's")
        return cls(task, code, basis, stored.extra(Extra))

    def tensors(self) -> Iterable[StoredTensor]:
        """What is shipped."""
        numbers = len(self.coefficients) * len(self.basis)
        yield StoredTensor("code", "values", as_tensor(self.code), numbers)
        yield StoredTensor("basis", "weights", self.basis)

    def logits(self, views: ViewBatch) -> Tensor:
        """Of a batch of views, float32 (B, C)."""
        design = self.function.design([views])
        return replace(design, values=design.values.float()).times(self.coefficients) @ self._back

    def explained(self, labels: Labels) -> float:
        """Share of the power of these centred labels that it explains."""
        wrong = power = 0.0
        for views, exact in labels:
            found = self.logits(views.to(self.coefficients.device)).cpu()
            wrong += float((found - exact).square().sum())
            power += float(exact.square().sum())
        return 1 - wrong / power


def labelled_epochs(task: LabelTask, epochs: int) -> tuple[Labels, Labels]:
    """The teacher's labels of the plan's first epochs, and of few more that no fit sees."""
    plan = task.plan
    fitted = min(plan.epochs, epochs) * plan.batches
    last = min(plan.epochs, epochs + UNSEEN) * plan.batches
    stored = kept_logits(task, last)
    return Labels(plan, stored, range(fitted)), Labels(plan, stored, range(fitted, last))


def fitting_bytes(shape: TaskShape, epochs: int, dims: int) -> int:
    """What a fit to so many epochs holds at most.

    Of each label its coordinates in double precision, and two of their size as it is fitted; the
    coefficients, and what solving for some of them takes.
    """
    coefficients = 8 * OF_IMAGE * shape.images * dims
    labels = 24 * min(shape.epochs, epochs) * shape.images * dims
    return labels + coefficients + ARRAYS * min(coefficients, SOLVED_BYTES)


def _worth_it(
    blocks: Iterable[Tensor], design: Design, scales: Tensor, classes: int, room: int
) -> Tensor:
    """As many of the coefficients as leave least squared error within `room`, (size, dims).

    Args:
        blocks: all of them, some directions at a time, from the strongest on, (size, k). No more
            are asked for once those at hand are more than are worth it.
        scales: see `step_scales`, (size, 1).
        room: bytes of code and basis.
    """
    # A view uses one of each entity's coefficients, whose errors add up.
    entities = torch.tensor(design.entities)
    weights = (1 / entities).repeat_interleave(entities)[:, None].double()
    found, lost, dims = list[Tensor](), list[Tensor](), 0
    for block in blocks:
        found.append(block)
        lost.append(design.times(block).square().mean(0))
        coefficients = torch.cat(found, 1)
        bits, saved = filled(coefficients / scales, weights, torch.cat(lost), TRIED, 0.5)
        basis = scales.new_tensor(range(1, coefficients.shape[1] + 1)) * classes
        fits = bits * len(coefficients) / 8 + basis <= room
        dims = int(saved.where(fits, -torch.inf).amax(0).argmax()) + 1
        if dims < coefficients.shape[1]:
            break
    return torch.cat(found, 1)[:, :dims]


def most_dims(classes: int, room: int) -> int:
    """Rows of a basis that so many bytes hold: at least 1, at most what centred labels have."""
    return max(1, min(classes - 1, room // classes))


def usual_dims(method: str, wished: int, classes: int, limited: bool) -> int:
    """Coefficients a label: those wished for, or all of up to `USUAL_DIMS` classes.

    Of more classes, `USUAL_DIMS`; or 0 where bytes are limited, which are to decide it.

    Raises:
        UserError: there are not so many.
    """
    if wished >= classes > 1:
        raise UserError(
            f"{method}.dims is {wished}; labels of {classes} classes have {classes - 1} once they "
            "are centred."
        )
    if classes <= USUAL_DIMS:
        return wished or classes - 1
    return wished or (0 if limited else USUAL_DIMS)


def code_container(
    method: str,
    options: "DataclassInstance",
    shape: TaskShape,
    dims: int,
    extra: Mapping[str, object],
    budget: int,
) -> int:
    """What manifest and headers of an artefact of code and basis take at most.

    Args:
        options, extra: as long as they get.
        dims: of the basis; 0 for any that the budget holds.
    """
    dims = dims or most_dims(shape.classes, budget)
    code = like("code", "values", torch.uint8, stand_in(budget), numbers=shape.labels * dims)
    basis = like("basis", "weights", torch.int8, dims, shape.classes)
    return container_bytes(method, options, shape, [code, basis], budget, extra)


def code_and_basis(stored: Artefact, dims: int, classes: int, whose: str) -> tuple[bytes, Tensor]:
    """The tensors `code` and `basis` of an artefact.

    Args:
        dims: rows of the basis; 0 for any number.

    Raises:
        ArtefactError: they are of another type or shape.
    """
    code, basis = stored.tensors.get("code"), stored.tensors.get("basis")
    if code is None or code.dtype != torch.uint8 or code.dim() != 1 or len(code) % 4:
        raise ArtefactError(f"The {whose} code is not a row of bytes, four a word.")
    many = [dims] if dims else range(1, classes)
    if (
        basis is None
        or basis.dtype != torch.int8
        or basis.dim() != 2
        or basis.shape[1] != classes
        or len(basis) not in many
    ):
        raise ArtefactError(f"The {whose} basis is not int8 {(dims or 'some', classes)}.")
    return code.numpy().tobytes(), basis


def as_tensor(code: bytes) -> Tensor:
    """Bytes as they are shipped, uint8 (n,)."""
    return torch.from_numpy(np.frombuffer(code, np.uint8).copy())


def rounded(number: float) -> float:
    """A number of four digits: what ships in a manifest takes bytes, and need not be exact."""
    return float(f"{number:.4g}")


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


def coded(coefficients: Tensor, step: float, room: int) -> tuple[bytes, int, float]:
    """Coefficients (size, dims) as bytes, with the largest magnitude and the step.

    Args:
        step: taken where there is no `room`; else the finest step at which they fit.

    Raises:
        UserError: not even the coarsest step fits.
    """

    def rounded_to(step: float, some: Tensor) -> Tensor:
        return (some / step).round().clamp(-MOST, MOST).long()

    def at(step: float) -> tuple[bytes, int, float]:
        most = max(1, int(rounded_to(step, farthest)))
        coder = Encoder(coefficients.shape[1], most)
        for some in coefficients.split(ROWS):
            coder.add(rounded_to(step, some).numpy())
        return coder.data(), most, step

    farthest = torch.stack([coefficients.max(), -coefficients.min()]).max()
    if not room:
        return at(step)
    fine, coarse, best = FINEST, COARSEST, None
    while coarse / fine > 1.01:
        tried = at(min(COARSEST, rounded((fine * coarse) ** 0.5)))
        if len(tried[0]) <= room:
            best, coarse = tried, tried[2]
        else:
            fine = tried[2]
    if best is None:
        raise UserError(
            f"A function of {len(coefficients)} coefficients of {coefficients.shape[1]} dims takes "
            f"{len(at(COARSEST)[0]):,} bytes in its coarsest form, and there are {room:,}."
        )
    return best


def decoded(code: bytes, scales: Tensor, dims: int, most: int) -> Tensor:
    """The coefficients of `coded`, each row times its scale, float32 (size, dims)."""
    coder, found = Decoder(code, dims, most), torch.empty(len(scales), dims)
    for some, by in zip(found.split(ROWS), scales.split(ROWS), strict=True):
        some.copy_(torch.from_numpy(coder.take(len(some))) * by[:, None])
    return found
