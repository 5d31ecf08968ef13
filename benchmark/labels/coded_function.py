"""A fitted `ViewFunction` as bytes: rounded coefficients, range-coded, and the basis they are of.

Labels of many views are centred, turned into their principal directions, and fitted by ridge
regression. Coefficients are rounded to steps that move a label alike, whichever number of the
geometry they multiply (reverse water-filling: those that matter less than a step become 0), and
range-coded by models that adapt as they go.

Of many classes, bytes that are limited are shared out between the basis and the coefficients
(`directions`). Of many images, all that grows with them lies on disk while it is fitted (`scratch`,
`ridge`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice

import torch
from torch import Tensor

from ..core.errors import ArtefactError
from ..data.views import ViewBatch, ViewPlan
from .artefact import Artefact, StoredTensor
from .coefficient_code import (
    COARSEST,
    FINEST,
    ByEntry,
    code_and_basis,
    coded,
    decoded,
    rounded,
    stream_name,
    stream_rows,
)
from .directions import USUAL_DIMS, most_dims, worth_it
from .label_basis import LEAST_POWER, centred, orthonormal, shipped, strongest
from .range_coding import MOST
from .ridge import SOLVED_BYTES, WIDE, fit
from .scratch import CHUNK_BYTES, RESIDENT_BYTES, chunks, scratch_tensor
from .task import LabelTask, TaskShape
from .teacher_logits import kept_logits
from .view_function import OF_CLASS, OF_IMAGE, ViewFunction, view_function
from .writer import Stored

UNSEEN = 5  # epochs after those fitted, on which a fit is measured
SCALED = 1000  # views, at least, by which steps are scaled
SCALED_AT_ONCE = 2**14  # of them
LONGEST = {"most": 12345, "power": 0.01234, "step": 0.01234}  # of what a manifest says


@dataclass(frozen=True)
class Labels:
    """The teacher's labels of some of a plan's epochs: on disk, since they outgrow memory.

    Attributes:
        stored: fp16 (n, C), of the plan's views from the first on.
    """

    plan: ViewPlan
    stored: Stored
    epochs: range

    @property
    def count(self) -> int:
        """How many labels."""
        return len(self.epochs) * self.plan.images

    def views(self) -> Iterator[ViewBatch]:
        """Of each batch."""
        return chain.from_iterable(map(self.plan.epoch, self.epochs))

    def logits(self) -> Iterator[Tensor]:
        """Centred, of each batch, float64 (B, C)."""
        for epoch in self.epochs:
            for batch in range(self.plan.batches):
                yield centred(self.stored[self.plan.rows(epoch, batch)])

    def __iter__(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        """Views, and their centred logits, float64 (B, C)."""
        return zip(self.views(), self.logits(), strict=True)


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
        code: the rounded coefficients, in streams; see `coefficient_code`.
        basis: whole numbers, int8 (dims, C); see `label_basis.orthonormal`.
        scales: see `step_scales`.
    """

    def __init__(
        self,
        task: LabelTask,
        code: Sequence[Tensor | Stored],
        basis: Tensor,
        extra: Extra,
        scales: ByEntry,
    ) -> None:
        self.code, self.basis, self.extra = code, basis, extra
        self.function: ViewFunction = view_function(task, task.device)
        self._back = (orthonormal(basis) * extra.power).float().to(task.device)
        self._steps = replace(scales, each=scales.each * extra.step)
        self._task = task

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
        for logits in labels.logits():
            moment += logits.T @ logits
            count += logits.numel()
        power = rounded(max(float(moment.trace() / count) ** 0.5, LEAST_POWER))
        most = dims or most_dims(task.classes, room)
        directions = strongest(moment, most)
        whole = shipped(directions @ strongest(directions.T @ moment @ directions, most))
        basis, folder = orthonormal(whole), task.workspace()
        design = view_function(task, "cpu").stored_design(labels.views(), labels.count, folder)
        scales = step_scales(task)

        def fitted(rows: Tensor) -> Tensor:
            turned, first = scratch_tensor(folder, torch.float64, labels.count, len(rows)), 0
            for logits in labels.logits():
                turned[first : first + len(logits)] = logits @ rows.T / power
                first += len(logits)
            return fit(design, turned)

        if dims:
            coefficients = fitted(basis)
        else:
            parts = map(fitted, basis.split(USUAL_DIMS))
            coefficients = worth_it(parts, design, scales, task.classes, room)
            whole = whole[: coefficients.shape[1]]
            room = max(1, room - whole.numel())  # 0 would be no limit
        for rows in chunks(len(coefficients), WIDE * coefficients.shape[1]):
            coefficients[rows].div_(scales[rows])
        code, largest, step = coded(coefficients, step, room, folder)
        return cls(task, code, whole, Extra(largest, power, step), scales)

    @classmethod
    def restore(cls, task: LabelTask, dims: int, stored: Artefact) -> "CodedFunction":
        """From what `tensors` gave, and the manifest.

        Raises:
            ArtefactError: code or basis are of another type or shape.
        """
        code, basis = code_and_basis(stored, dims, task.classes, "function's")
        scales = step_scales(task)
        size, each = len(scales), stream_rows(len(scales), len(basis))
        if len(code) not in (1, -(-size // each)):
            raise ArtefactError(
                f"The function's {size} coefficients are in {len(code)} streams, each of {each}."
            )
        made = cls(task, code, basis, stored.extra(Extra), scales)
        _ = made.coefficients  # here, and not at the first step
        return made

    @cached_property
    def coefficients(self) -> Tensor:
        """Float32 (size, dims), on the device; in a file while fitting, if they are large."""
        dims, folder = len(self.basis), self._task.scratch
        found = decoded(self.code, self._steps, dims, self.extra.most, folder)
        return found.to(self._task.device)

    def tensors(self) -> Iterable[StoredTensor]:
        """What is shipped."""
        numbers, dims = len(self._steps), len(self.basis)
        each = stream_rows(numbers, dims) if len(self.code) > 1 else numbers
        for number, stream in enumerate(self.code):
            some = min(each, numbers - number * each) * dims
            yield StoredTensor(stream_name(number), "values", stream, some)
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
    fitted, last = min(plan.epochs, epochs), min(plan.epochs, epochs + UNSEEN)
    stored = kept_logits(task, last * plan.batches)
    return Labels(plan, stored, range(fitted)), Labels(plan, stored, range(fitted, last))


def fitting_bytes(shape: TaskShape, epochs: int, dims: int) -> int:
    """What a fit to so many epochs holds in memory at most; see `scratch`.

    The labels' second moment and its axes; the design, as it is and sorted; labels and coefficients
    in few dimensions, and what solving for some of them takes; a few chunks of these.
    """
    views, entries = min(shape.epochs, epochs) * shape.images, OF_IMAGE + OF_CLASS
    size = OF_IMAGE * shape.images + OF_CLASS * shape.classes
    solved = max(1, min(dims, SOLVED_BYTES // (WIDE * size)))
    tensors = [4 * views * entries] * 2 + [WIDE * views * entries] * 2 + [WIDE * size] * 3
    tensors += [WIDE * size * dims] + [WIDE * size * solved] * 5
    tensors += [WIDE * views * dims] + [WIDE * views * solved] * 2
    held = sum(min(RESIDENT_BYTES, each) for each in tensors)
    chunked = 4 * min(CHUNK_BYTES, WIDE * max(views * entries, size * dims))
    return 4 * WIDE * shape.classes**2 + held + chunked


def step_scales(task: LabelTask) -> ByEntry:
    """What each coefficient changes by where it moves a label by 1.

    A label moves by a coefficient times what it multiplies, whose root mean square over some
    views of the plan counts.
    """
    plan, function = task.plan, view_function(task, "cpu")
    epochs = range(min(plan.epochs, -(-SCALED // plan.images)))
    views = chain.from_iterable(map(plan.epoch, epochs))
    squares, entities = torch.zeros(()), tuple[int, ...]()
    each = max(1, SCALED_AT_ONCE // plan.batch_size)
    while some := list(islice(views, each)):
        design = function.design(some)
        entities, squares = design.entities, squares + design.values.square().sum(0)
    usual = (squares / (len(epochs) * plan.images)).sqrt().clamp_min(1e-3)
    return ByEntry(1 / usual, entities)
