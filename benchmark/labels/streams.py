"""Students that share a stream: its views are rendered and labelled once, for all of them.

Where neither views nor targets depend on a student's seed, students of the same labels are shown
the same pixels and targets at every step, so they take turns on each batch. On a CPU that saves
what a batch costs; on a GPU they may be stacked too (`stack`).
"""

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.files import digest
from ..core.progress import say
from ..data.recipe import Recipe
from ..data.views import ViewBatch
from ..models.training import Going, Optimisation, Training, advance, diverged, in_turn
from .contract import LabelSource
from .stack import Stack
from .student import Student, optimisation, stream

TRIAL_REPEATS = 5


@dataclass(frozen=True)
class Learner:
    """A student on its way.

    Attributes:
        source: of its labels; its own, because of what a loss may remember.
        label: for progress and errors.
        checkpoint: a file to go on from, and to write at times; the caller removes it.
    """

    student: Student
    source: LabelSource
    label: str
    checkpoint: Path


@dataclass(frozen=True)
class Trained:
    """How students were trained on one stream.

    Attributes:
        curves: each one's mean loss of each epoch, or what ended it.
        stacked: whether as one stacked network.
        seconds_step: of a step of all of them, by form, where forms were tried: every repeat.
    """

    curves: list[list[float] | Exception]
    stacked: bool = False
    seconds_step: dict[str, list[float]] = field(default_factory=dict)


def train(learners: Sequence[Learner], recipe: Recipe) -> Trained:
    """Train students in place towards the targets of the first one's source, step by step.

    In turn each learns, to the bit, what it would alone. On a GPU a short trial decides whether
    they are stacked; that changes their results by rounding.
    """
    source = learners[0].source
    schedule = optimisation(recipe, source)
    students = [learner.student for learner in learners]
    seconds: dict[str, list[float]] = {}
    if source.task.device.type == "cuda" and Stack.possible(students, source):
        seconds = trial(students, source, schedule)
        if min(seconds, key=lambda form: min(seconds[form])) == "stacked":
            return Trained(train_stacked(learners, source, schedule), True, seconds)
    return Trained(_in_turn(learners, source, schedule), False, seconds)


def check_shared(source: LabelSource, other: LabelSource) -> None:
    """Refuse a source that draws by the student's seed without saying so.

    Args:
        other: the same labels, loaded for another student.

    Raises:
        UserError: views or targets of their first batches differ.
    """
    ours, theirs = (_tensors(next(stream(each, 0))) for each in (source, other))
    if not all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)):
        raise UserError(
            f"{source.name} gives students of other seeds other views or targets, and does not "
            "say so: let its `seeded` be true."
        )


def _tensors(value: Any) -> list[Tensor]:
    """All tensors of a batch of a stream."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for part in value for tensor in _tensors(part)]
    parts = vars(value).values() if is_dataclass(value) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _in_turn(
    learners: Sequence[Learner], source: LabelSource, schedule: Optimisation
) -> list[list[float] | Exception]:
    trainings = [
        Training(
            each.student,
            schedule,
            each.label,
            each.checkpoint,
            each.source.training_state,
            seed=each.student.seed,
        )
        for each in learners
    ]
    equally_far: dict[int, list[int]] = defaultdict(list)  # after checkpoints
    for number, training in enumerate(trainings):
        equally_far[len(training.curve)].append(number)
    for numbers in equally_far.values():
        some = [learners[number] for number in numbers]

        def epoch_of(going: Going, epoch: int, some: Sequence[Learner] = some) -> int:
            return in_turn(going, _steps(some, source, epoch))

        title = some[0].label if len(some) == 1 else f"{some[0].label} and {len(some) - 1} more"
        advance([trainings[number] for number in numbers], epoch_of, schedule.epochs, title)
    return [training.error or training.curve for training in trainings]


def _steps(
    learners: Sequence[Learner], source: LabelSource, epoch: int
) -> Iterator[Callable[[int], Tensor]]:
    """The steps of an epoch, each as the loss of the n-th learner."""
    for views, pixels, targets in stream(source, epoch):
        yield partial(_loss, learners, views, pixels, targets, epoch)


def _loss(
    learners: Sequence[Learner],
    views: ViewBatch,
    pixels: Tensor,
    targets: Any,
    epoch: int,
    number: int,
) -> Tensor:
    learner = learners[number]
    return learner.student.loss(learner.source, pixels, targets, views, epoch)


def train_stacked(
    learners: Sequence[Learner], source: LabelSource, schedule: Optimisation
) -> list[list[float] | Exception]:
    """Train students in place as one stacked network; each one's curve, or what ended it."""
    stack = Stack([learner.student for learner in learners], source)
    named = digest([learner.checkpoint.name for learner in learners])[:24]
    checkpoint = learners[0].checkpoint.with_name(f"stack-{named}.pt")
    title = f"{learners[0].label} and {len(learners) - 1} more"
    seed = learners[0].student.seed
    training = Training(stack, schedule, title, checkpoint, members=len(learners), seed=seed)

    def epoch_of(_: Going, epoch: int) -> int:
        with training.own_random_numbers():
            return training.descend(stack.losses(epoch))

    advance([training], epoch_of, schedule.epochs, title)
    stack.restore()
    checkpoint.unlink(missing_ok=True)
    if training.error is not None:
        return [training.error] * len(learners)
    curves = [list(curve) for curve in zip(*training.curve, strict=True)]
    return [
        _ended(curve, learner.label, schedule.lr)
        for curve, learner in zip(curves, learners, strict=True)
    ]


def _ended(curve: list[float], label: str, lr: float) -> list[float] | Exception:
    """A member's curve, or the error that it would have ended with by itself."""
    for epoch, loss in enumerate(curve, 1):
        if not math.isfinite(loss):
            return diverged(label, loss, epoch, lr)
    return curve


def trial(
    students: Sequence[Student], source: LabelSource, schedule: Optimisation
) -> dict[str, list[float]]:
    """Seconds of a step of all students in turn, and of their stack: every repeat, of copies.

    A stack that this memory cannot hold, or a network that cannot be stacked, has no seconds.
    """
    copies = [copy.deepcopy(student) for student in students]
    views, pixels, targets = next(stream(source, 0))
    alone = [Training(student, schedule, "trial") for student in copies]

    def turns() -> None:
        for student, training in zip(copies, alone, strict=True):
            training.step(student.loss(source, pixels, targets, views, 0))

    def stacked() -> None:
        together.step(stack.loss(pixels, targets, views, 0))

    forms = {"in turn": turns}
    try:
        stack = Stack(copies, source)
        together = Training(stack, schedule, "trial", members=len(copies))
        together.begin()
        stacked()
        forms["stacked"] = stacked
    except RuntimeError as error:
        say(f"the students are trained in turn: no stack of them can be had ({error})")
    for training in alone:
        training.begin()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for repeat in range(1 + TRIAL_REPEATS):  # the first one warms up
        for name, work in forms.items():
            source.task.compute.wait()
            started = time.perf_counter()
            work()
            source.task.compute.wait()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return seconds
