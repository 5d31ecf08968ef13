"""Label function: labels as a fitted function of the view's geometry, a few numbers an image.

A label is a function of its view: which image, which part, which partner, which box. Stored
labels sample it; here its coefficients are shipped (`view_function` says of what, `coded_function`
how), and it answers for every view of the plan, so nothing is reused and nothing pruned. Labels of
many epochs are centred, turned into their principal directions (a basis shared by all), and fitted
by ridge regression; at high temperature that is nearly the student's own loss, since the divergence
of centred logits z of C classes is nearly |dz|^2 / (2 C T^2). A batch of labels is then two small
products: no network, no prior.

At up to 64 classes the basis has all directions. Of more, a byte budget is shared out between its
rows and finer coefficients, as leaves least squared error of the fitted labels (`dims`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.coded_function import (
    LONGEST,
    UNSEEN,
    CodedFunction,
    fitting_bytes,
    labelled_epochs,
)
from benchmark.labels.coefficient_code import COARSEST, FINEST
from benchmark.labels.container import stand_in
from benchmark.labels.contract import Json, LabelSource
from benchmark.labels.directions import USUAL_DIMS, code_container, usual_dims
from benchmark.labels.relabelling import Relabelling
from benchmark.labels.task import Amounts, LabelTask, TaskShape

LEAST_BYTES = 4  # of the code: a word


@dataclass(frozen=True)
class Options:
    """How the function is fitted, and how finely it is shipped.

    Attributes:
        bytes: most that the coded coefficients take, with the basis where `dims` goes by it: the
            finest step that does is taken; 0 takes `step`. A byte budget sets it.
        step: of the coefficients, as what it moves a label by, as a share of the labels' root mean
            square.
        epochs: of the plan, whose labels it is fitted to.
        dims: coefficients a number of the geometry; 0 takes all of up to 64 classes. Of more it
            goes by `bytes`: as many as leave least squared error, once their rows of the basis are
            paid for; without a limit it takes 64.
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


class LabelFunction(LabelSource[Options]):
    """Fresh views every epoch, labelled by the function."""

    title = "Label function"
    paper = "labelbench, methods/label_function"
    space = "logits"

    def __init__(self, task: LabelTask, options: Options, function: CodedFunction) -> None:
        super().__init__(task, options)
        self.function = function

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        limited = budget is not None or options.bytes > 0
        dims = usual_dims(cls.name, options.dims, shape.classes, limited)
        options = replace(options, dims=dims, epochs=min(options.epochs, shape.epochs))
        if budget is None:
            return options
        fixed, longest = (dims or 1) * shape.classes, replace(options, bytes=stand_in(budget))
        container = code_container(cls.name, longest, shape, dims, LONGEST, budget)
        room = budget - fixed - container
        if room < LEAST_BYTES:
            raise UserError(
                f"label_function cannot meet a budget of {budget:,} bytes: the least it can take "
                f"is {fixed + container + LEAST_BYTES:,}, of which its basis takes {fixed:,} and "
                f"the container {container:,}."
            )
        return replace(options, bytes=room if dims else room + fixed)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        epochs = min(shape.epochs, options.epochs + UNSEEN)
        held = fitting_bytes(shape, options.epochs, options.dims or USUAL_DIMS)
        passes = Passes(TEACHER, epochs * shape.images, shape.batch_size(0))
        return Work((passes,), memory=held)

    @classmethod
    def relabelling(cls, options: Options, plan: ViewPlan, seed: int) -> Relabelling:
        return Relabelling(range(min(plan.epochs, options.epochs + UNSEEN) * plan.batches))

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        fitted, unseen = labelled_epochs(task, options.epochs)
        function = CodedFunction.fit(task, fitted, options.dims, options.step, options.bytes)
        made = cls(task, options, function)
        made.notes = {"labels": fitted.count}
        if unseen.epochs:
            made.notes["r2_unseen"] = function.explained(unseen)
        return made

    def manifest(self) -> Mapping[str, Json]:
        return vars(self.function.extra)

    def tensors(self) -> Iterable[StoredTensor]:
        return self.function.tensors()

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        return cls(task, options, CodedFunction.restore(task, options.dims, shipped))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.function.logits(views)
