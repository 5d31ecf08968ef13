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

A byte budget chooses among forms, from nothing at all to all labels. Where it does not hold the
least that helps, labels are the images' own classes (`hard`) and take no byte: there is no file.
Where it does not hold a few coarse views of each image, they are a fitted function of every view
(`function`, as `label_function`). From there on it buys coarse labels of more and more views until
every image has `ENOUGH` of them; then finer ones: what rounding leaves out of few labels costs
students more than views they never saw (results/FINDINGS.md has the trial, on training images kept
apart).

At up to 64 classes labels are coded in all directions. Of more, a row of the basis takes as many
bytes as there are classes, and the budget decides how many there are (`dims`). Numbers of
directions and steps are tried together on a sample of the labels: each leaves room for so many
labels, with a squared error of what is left out and what is rounded. The least is taken, over all
images: first each has a label, and from there on twice as many labels count as much as two per
cent of error.

Epochs draw from the coded batches; a batch comes again, as likely as not, mirrored, with the
label it has: the teacher's labels hardly change by it, and for no bytes there are twice as many
views.

What students make of a decoded label is another matter, and takes no bytes: LPQLD's few
renormalised logits (`k`), its falling temperature (`schedule`) and its alignment (`calibrate`) are
options, off by default, so that code and target can be judged apart.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.needs import Needs
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import MIRROR, ViewBatch, ViewPlan, random_words, unit
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.coded_function import (
    UNSEEN,
    CodedFunction,
    fitting_bytes,
    labelled_epochs,
)
from benchmark.labels.container import stand_in
from benchmark.labels.contract import Json, LabelSource
from benchmark.labels.directions import USUAL_DIMS, code_container, usual_dims
from benchmark.labels.relabelling import Relabelling
from benchmark.labels.reuse import DECAY, FLOOR, INTERVAL, calibrated, label_temperature
from benchmark.labels.task import Amounts, LabelTask, TaskShape

from .coded_views import CodedViews
from .options import Form, Options

# Bits that there are for each coefficient of each image, below which a form is worth less than the
# one before it.
FUNCTION_FROM, VIEWS_FROM = 0.5, 3.0
# Coefficients that an image counts as having where the bytes are yet to decide how many: as of ten
# classes. Fewer and coarser ones of views lose less than a function of all views does there.
TEN_CLASSES = 9
LEAST_BYTES = 4  # of a label of views, before anything is known
EPOCHS, USUAL_STEP = 50, 0.1  # that a function is fitted to, and at, without a budget
LONGEST = {"batches": 12345, "most": 12345, "power": 0.01234, "step": 0.01234}


class TransformCoder(LabelSource[Options]):
    """Few batches of coded labels, reused; or a function of every view, or nothing."""

    title = "Transform coder"
    paper = "labelbench, methods/transform"
    space = "logits"

    def __init__(
        self,
        task: LabelTask,
        options: Options,
        coded: CodedViews | CodedFunction | None,
    ) -> None:
        """Keep what is shipped: of `views`, of a `function`, or nothing of `hard` labels."""
        super().__init__(task, options)
        self.coded = coded
        if coded is None:
            self.space = "probabilities"

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        steps = shape.epochs * shape.batches
        if options.batches > steps:
            raise UserError(f"transform.batches is {options.batches}, but there are {steps}.")
        if options.k > shape.classes:
            raise UserError(f"transform.k is {options.k}, but there are {shape.classes} classes.")
        limited = budget is not None or options.bytes > 0
        dims = usual_dims(cls.name, options.dims, shape.classes, limited)
        options = replace(options, dims=dims)
        if options.form == "hard" or budget is None:
            form = "views" if options.form == "auto" else options.form
            return replace(options, form=form)
        fixed, longest = (
            (dims or 1) * shape.classes,
            replace(options, form="function", bytes=stand_in(budget)),
        )
        container = code_container(cls.name, longest, shape, dims, LONGEST, budget)
        room = budget - fixed - container
        if options.form == "auto":
            options = replace(options, form=_form(room, options, shape))
        if options.form == "hard":
            return options
        least = LEAST_BYTES * (shape.batch_size(0) if options.form == "views" else 1)
        if room < least:
            raise UserError(
                f"transform cannot meet a budget of {budget:,} bytes: the least it can take as "
                f"{options.form} is {fixed + container + least:,}, of which the basis takes "
                f"{fixed:,} and the container {container:,}."
            )
        return replace(options, bytes=room if dims else room + fixed)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        if options.form == "hard":
            return Work()
        batches, held = options.batches or shape.epochs * shape.batches, 0
        if options.form == "function":
            batches = min(shape.epochs, EPOCHS + UNSEEN) * shape.batches
            held = fitting_bytes(shape, EPOCHS, options.dims or USUAL_DIMS)
        batch = shape.batch_size(0)
        return Work((Passes(TEACHER, batches * batch, batch),), memory=held)

    @classmethod
    def relabelling(cls, options: Options, plan: ViewPlan, seed: int) -> Relabelling | None:
        if options.form == "function":
            return Relabelling(range(min(plan.epochs, EPOCHS + UNSEEN) * plan.batches))
        if options.form == "hard" or options.bytes:  # no labels, or as many as fit
            return None
        return Relabelling(range(options.batches or plan.steps))

    @classmethod
    def needs(cls, options: Options) -> Needs:
        return Needs(teacher=options.form != "hard")

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        if task.objective.loss == "mse" and not options.as_they_are:
            raise UserError(
                "transform.k, schedule and calibrate are for a recipe whose loss is a divergence, "
                "not squared errors of logits."
            )
        if options.form == "hard":
            return cls(task, options, None)
        if options.form == "views":
            views = CodedViews.fit(task, options)
            made = cls(task, options, views)
            made.notes = {"labels": views.labels, "squared_error": views.squared_error}
            return made
        fitted, unseen = labelled_epochs(task, EPOCHS)
        step = options.step or USUAL_STEP
        function = CodedFunction.fit(task, fitted, options.dims, step, options.bytes)
        made = cls(task, options, function)
        made.notes = {"r2_unseen": function.explained(unseen)} if unseen.epochs else {}
        return made

    @property
    def ships(self) -> bool:
        return self.coded is not None

    @classmethod
    def unshipped(cls, task: LabelTask) -> Self:
        return cls(task, Options(form="hard"), None)

    def manifest(self) -> Mapping[str, Json]:
        return vars(self.coded.extra) if self.coded else {}

    def tensors(self) -> Iterable[StoredTensor]:
        return self.coded.tensors() if self.coded else ()

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        if options.form == "function":
            return cls(task, options, CodedFunction.restore(task, options.dims, shipped))
        return cls(task, options, CodedViews.restore(task, options, shipped))

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        if not isinstance(self.coded, CodedViews):
            yield from super().stored_labels()
            return
        for position in range(self.coded.pool.size):
            views = self.coded.pool.batch(position)
            yield views, self.coded.logits(views).cpu()

    @property
    def seeded(self) -> bool:
        return isinstance(self.coded, CodedViews)

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        """As many batches as the plan has, drawn from the coded ones; else the plan's own."""
        if not isinstance(self.coded, CodedViews):
            yield from super().views(epoch)
            return
        seed, plan = self.task.seed, self.task.plan
        chances = unit(random_words(seed, epoch, 0, MIRROR, plan.batches))
        mirror = self.options.mirror and 0 < plan.augmentation.flip < 1
        for views, chance in zip(self.coded.pool.views(seed, epoch), chances, strict=True):
            yield views.mirrored() if mirror and chance < 0.5 else views

    def temperature(self, epoch: int) -> float:
        """Of the labels in `epoch` (from 0)."""
        start, epochs = self.task.objective.temperature, self.task.plan.epochs
        interval = max(1, round(INTERVAL * epochs))
        return label_temperature(
            self.options.schedule, start, FLOOR, DECAY, interval, epoch, epochs
        )

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        """Logits that the recipe's temperature makes targets of: of another, scaled to it."""
        if self.coded is None:
            return self.task.hard_labels(views)
        logits = self.coded.logits(views)
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


def _form(room: int, options: Options, shape: TaskShape) -> Form:
    """What so many bytes of code are worth spending on."""
    if not options.dims:  # half of it is for the basis, or as much as has the usual rows
        room -= min(room // 2, (USUAL_DIMS - 1) * shape.classes)
    bits = 8 * room / (shape.images * (options.dims or TEN_CLASSES))
    least = LEAST_BYTES * shape.batch_size(0)
    if room >= least and (bits >= VIEWS_FROM or options.batches):
        return "views"
    # Hard labels have no logits to renormalise.
    return "function" if bits >= FUNCTION_FROM or not options.as_they_are else "hard"
