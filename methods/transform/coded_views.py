"""The views' labels as they are coded: what is shipped of them, and what it is decoded to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.progress import track
from benchmark.data.views import ViewBatch
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.coefficient_code import as_tensor, code_and_basis, rounded
from benchmark.labels.label_basis import orthonormal
from benchmark.labels.label_pool import LabelPool
from benchmark.labels.range_coding import MOST
from benchmark.labels.task import LabelTask
from benchmark.labels.teacher_logits import resident, teacher_logits
from benchmark.labels.view_function import view_function
from benchmark.labels.view_kernel import ViewKernel
from benchmark.labels.writer import TensorWriter

from .allotment import allotted
from .coder import Coded, Transform, basis_of, decode, encode, largest
from .options import Options

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


class CodedViews:
    """The coded labels of a plan's first batches.

    Attributes:
        squared_error: of those just coded, as a share of their power; 0 of those restored.
    """

    squared_error: float = 0.0

    def __init__(
        self, task: LabelTask, options: Options, code: bytes, basis: Tensor, extra: Extra
    ) -> None:
        self._task, self._options = task, options
        self.code, self.basis, self.extra = code, basis, extra
        self.pool = LabelPool(task.plan, extra.batches)
        self._coefficients: Tensor | None = None

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> "CodedViews":
        """Of as many batches as the options allow, at the step that they go by.

        Raises:
            UserError: not one batch fits.
        """
        plan, kernel = task.plan, kernel_of(task, options)
        last = options.batches or plan.steps
        sample = range(min(last, -(-SAMPLE // plan.batch_size)))
        found = list(teacher_logits(task, sample, "label a sample of views"))
        logits = torch.cat([rows for _, rows in found]).cpu()
        found = [(views, rows.cpu()) for views, rows in found]
        enough, dims, room = ENOUGH * plan.images, options.dims, options.bytes
        steps = (options.step,) if options.step else STEPS if room else STEPS[-1:]
        if not dims:
            most = min(enough, last * plan.batch_size)
            dims, step = allotted(found, kernel, options, plan.images, most)
            steps, room = (step,), max(1, room - dims * task.classes)  # 0 would be no limit
        whole, power = basis_of(found, kernel, dims)
        basis, power, labels = orthonormal(whole), rounded(power), _Labels(task, last)

        def at(step: float) -> tuple[Coded, Transform]:
            transform = Transform(basis, power, step, largest(logits, basis, power, step))
            return encode(labels, transform, kernel, options.rounding, room), transform

        for step in steps:
            coded, transform = at(step)
            if coded.batches == last or coded.batches * plan.batch_size >= enough:
                break
        if coded.batches == 0:
            raise UserError(
                f"transform.bytes is {options.bytes:,}, which does not hold one batch of "
                f"{plan.batch_size} labels: take more bytes, a step coarser than "
                f"{transform.step}, or form=function."
            )
        fine, coarse = FINEST, transform.step
        while room and coded.batches == last and coarse / fine > 1.05:
            finer = at(rounded((fine * coarse) ** 0.5))
            if finer[0].batches == last:
                (coded, transform), coarse = finer, finer[1].step
            else:
                fine = finer[1].step
        extra = Extra(coded.batches, transform.most, power, transform.step)
        made = cls(task, options, coded.data, whole, extra)
        made.squared_error = coded.squared_error
        return made

    @classmethod
    def restore(cls, task: LabelTask, options: Options, stored: Artefact) -> "CodedViews":
        """From what `tensors` gave, and the manifest; all is decoded.

        Raises:
            ArtefactError: the plan has fewer batches, or a tensor is of another type or shape.
        """
        extra = stored.extra(Extra)
        if extra.batches > task.plan.steps:
            raise ArtefactError(
                f"{extra.batches} batches are coded where the plan has {task.plan.steps}."
            )
        (code, *_), basis = code_and_basis(stored, options.dims, task.classes, "labels'")
        made = cls(task, options, code.numpy().tobytes(), basis, extra)
        _ = made.coefficients  # here, and not at the first step
        return made

    @property
    def labels(self) -> int:
        """How many there are."""
        return self.pool.rows(self.pool.size - 1).stop

    def tensors(self) -> Iterable[StoredTensor]:
        """What is shipped."""
        yield StoredTensor("code", "values", as_tensor(self.code), self.labels * len(self.basis))
        yield StoredTensor("basis", "weights", self.basis)

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
            kernel = kernel_of(self._task, self._options)
            decoded = decode(self.code, batches, self.transform, kernel)
            rows = torch.cat([c.float() for c in track(decoded, "decode", self.pool.size)])
            device = self._task.device
            self._coefficients = resident(rows, device)
            self._back = (self.transform.basis * self.extra.power).float().to(device)
        return self._coefficients

    def logits(self, views: ViewBatch) -> Tensor:
        """Of one coded batch, which its position in the pool tells; float32 (B, C), on the device.

        Its views may be shown mirrored.
        """
        rows = self.coefficients[self.pool.rows(views.batch)]
        return rows.to(self._task.device, non_blocking=True) @ self._back


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
