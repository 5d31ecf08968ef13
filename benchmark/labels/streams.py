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

from ..core import ranks
from ..core.errors import UserError
from ..core.files import digest
from ..core.progress import say
from ..data.recipe import Recipe
from ..data.views import ViewBatch
from ..models.gradients import Batch
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
        stacks: as how many stacked networks, one after another; 0 if in turn. More than one
            where the device's memory held no stack of all.
        seconds_step: of a step of all of them, by form, where forms were tried: every repeat.
        parts: in which each one's batches were seen, since memory did not hold them whole; else 1.
    """

    curves: list[list[float] | Exception]
    stacks: int = 0
    seconds_step: dict[str, list[float]] = field(default_factory=dict)
    parts: list[int] = field(default_factory=list)


def train(learners: Sequence[Learner], recipe: Recipe) -> Trained:
    """Train students in place towards the targets of the first one's source, step by step.

    In turn each learns, to the bit, what it would alone. On a GPU a short trial decides whether
    they are stacked; that changes their results by rounding. Several processes take turns.
    """
    source = learners[0].source
    schedule = optimisation(recipe, source)
    students = [learner.student for learner in learners]
    seconds: dict[str, list[float]] = {}
    alone = ranks.count() == 1
    if alone and source.task.device.type == "cuda" and Stack.possible(students, source):
        seconds, stacks = trial(students, source, schedule)
        if min(seconds, key=lambda form: min(seconds[form])) == "stacked":
            return train_stacked(learners, source, schedule, stacks, seconds)
    return _in_turn(learners, source, schedule, seconds)


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
    learners: Sequence[Learner],
    source: LabelSource,
    schedule: Optimisation,
    seconds: dict[str, list[float]],
) -> Trained:
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
    curves = [training.error or training.curve for training in trainings]
    return Trained(curves, 0, seconds, [training.gradients.parts for training in trainings])


def _steps(
    learners: Sequence[Learner], source: LabelSource, epoch: int
) -> Iterator[Callable[[int], Batch]]:
    """The steps of an epoch, each as the loss of the n-th learner."""
    for views, pixels, targets in stream(source, epoch):
        yield partial(_batch, learners, views, pixels, targets, epoch)


def _batch(
    learners: Sequence[Learner],
    views: ViewBatch,
    pixels: Tensor,
    targets: Any,
    epoch: int,
    number: int,
) -> Batch:
    learner = learners[number]
    return learner.student.batch(learner.source, pixels, targets, views, epoch)


def train_stacked(
    learners: Sequence[Learner],
    source: LabelSource,
    schedule: Optimisation,
    stacks: int = 1,
    seconds: dict[str, list[float]] | None = None,
) -> Trained:
    """Train students in place as stacked networks, one after another.

    A stack that memory does not hold is begun again as two halves. Each member learns the same in
    any of them; one that is left alone sees its batches in parts, if it must.

    Args:
        stacks: to begin with.
        seconds: of a trial, for what is returned.
    """
    waiting = [learners[part] for part in ranks.parts(len(learners), stacks)]
    curves: list[list[float] | Exception] = []
    parts, done = [], 0
    while waiting:
        some, waiting = waiting[0], waiting[1:]
        if len(some) == 1:
            alone = _in_turn(some, source, schedule, {})
            curves, parts = curves + alone.curves, parts + alone.parts
        else:
            found = _one_stack(some, source, schedule)
            if found is None:
                waiting = [some[part] for part in ranks.parts(len(some), 2)] + waiting
                continue
            curves, parts = curves + found, parts + [1] * len(some)
        done += 1
    return Trained(curves, done, seconds or {}, parts)


def _one_stack(
    learners: Sequence[Learner], source: LabelSource, schedule: Optimisation
) -> list[list[float] | Exception] | None:
    """Each one's curve, or what ended it; None if memory does not hold the stack."""
    named = digest([learner.checkpoint.name for learner in learners])[:24]
    checkpoint = learners[0].checkpoint.with_name(f"stack-{named}.pt")
    title = f"{learners[0].label} and {len(learners) - 1} more"
    seed = learners[0].student.seed
    try:
        stack = Stack([learner.student for learner in learners], source)
        training = Training(stack, schedule, title, checkpoint, members=len(learners), seed=seed)

        def epoch_of(_: Going, epoch: int) -> int:
            with training.own_random_numbers():
                return training.descend(stack.losses(epoch))

        advance([training], epoch_of, schedule.epochs, title)
    except torch.OutOfMemoryError as error:
        checkpoint.unlink(missing_ok=True)
        say(f"{title}: memory holds no stack of {len(learners)} students ({error}): two halves")
        return None
    stack.restore()
    checkpoint.unlink(missing_ok=True)
    if training.error is not None:
        return [training.error for _ in learners]
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
) -> tuple[dict[str, list[float]], int]:
    """Seconds of a step of all students in turn, and stacked: every repeat, of copies.

    Returns:
        The seconds by form; and as how few stacks memory holds them. A network that cannot be
        stacked has no seconds of stacks.
    """
    copies = [copy.deepcopy(student) for student in students]
    views, pixels, targets = next(stream(source, 0))
    alone = [Training(student, schedule, "trial") for student in copies]
    forms: dict[str, Callable[[], None]] = {}

    def turns() -> None:
        for student, training in zip(copies, alone, strict=True):
            training.step(student.batch(source, pixels, targets, views, 0))

    def stacked() -> None:
        for stack, training in together:
            training.step(stack.loss(pixels, targets, views, 0))

    forms["in turn"] = turns
    together: list[tuple[Stack, Training]] = []
    stacks = 1
    while "stacked" not in forms and stacks < len(copies):
        try:
            together = [
                _begun(copies[part], source, schedule) for part in ranks.parts(len(copies), stacks)
            ]
            stacked()
            forms["stacked"] = stacked
        except torch.OutOfMemoryError as error:
            together, stacks = [], 2 * stacks
            say(f"memory holds no stack of these students ({error}); smaller ones are tried")
        except RuntimeError as error:
            say(f"the students are trained in turn: no stack of them can be had ({error})")
            break
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
    return seconds, stacks


def _begun(
    students: Sequence[Student], source: LabelSource, schedule: Optimisation
) -> tuple[Stack, Training]:
    """A stack of some students, in training."""
    stack = Stack(students, source)
    training = Training(stack, schedule, "trial", members=len(students))
    training.begin()
    return stack, training
