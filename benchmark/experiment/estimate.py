"""How long a run will take: of each stage, from what this machine took before, or a few steps.

A stage that nothing is known of is told in words, not guessed.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..core.files import digest
from ..core.progress import spoken
from ..core.work import TEACHER, Passes, Work
from ..data.views import Augmentation, ViewPlan
from ..labels.contract import method
from ..labels.task import Amounts, task_shape
from ..models.classifier import at_once
from ..models.image_source import image_source
from ..models.teachers import TeacherOptions
from .grid import Cell
from .groups import stream
from .history import History
from .image_stages import ResolvedImages
from .pace import Pace, Subject
from .run_cell import RECORDS, Cells, ResolvedCell
from .similarity import BATCH as COMPARED
from .stages import ResolvedLabels
from .throughput import LEAST_SECONDS, REPEATS

KINDS = ("start", "teacher", "images", "labels", "students", "tests and timing")
PUBLISHED = Path("results")  # collections beside the run, as `reference` reads them
LONG = 3 * 86400.0  # seconds after which a CPU is not what a grid is meant for


@dataclass(frozen=True)
class Item:
    """One stage that is missing; several cells may wait for the same.

    Attributes:
        name: by which it counts once.
        seconds: None where it is not known.
        what: it is, in words, for `kind`.
    """

    kind: str
    name: str
    seconds: float | None
    what: str = ""


@dataclass(frozen=True)
class Estimate:
    """Seconds by kind of stage, and what is not known."""

    parts: dict[str, float]
    unknown: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of all stages whose time is known."""
        return sum(self.parts.values())


class Estimator:
    """Estimates for the cells of a run.

    Args:
        timed: whether steps are timed where records tell nothing of them.
        start: seconds that a process of this run takes to start, as this one did.
    """

    def __init__(self, runner: Cells, timed: bool, start: float = 0.0) -> None:
        experiment = self.experiment = runner.experiment
        self.runner, self.start = runner, start
        places = [experiment.runtime.work / RECORDS, PUBLISHED]
        self.history = History(places, experiment.cache.root, experiment.cache.machine)
        images = experiment.dataset.train
        self.pace = Pace(images, experiment.runtime.compute) if timed else None
        self._items: dict[str, tuple[Item, ...]] = {}
        self._rate = cache(self._rate_of)

    def of(self, cells: Sequence[ResolvedCell], counted: Container[str] = ()) -> Estimate:
        """What these cells take, measured on as many jobs as the run has.

        Args:
            counted: names of the stages that take no time, as they are made already.
        """
        found = {item.name: item for cell in cells for item in self.items(cell)}
        items = {name: item for name, item in found.items() if name not in counted}
        parts, unknown = defaultdict(float), dict[str, None]()
        jobs = self.experiment.runtime.jobs
        for item in items.values():
            if item.seconds is None:
                unknown[item.what] = None
            else:
                parts[item.kind] += item.seconds / (1 if item.kind == "teacher" else jobs)
        if parts and self.start and not counted:
            # With jobs, each is a process that starts one which fits, after one that did for all.
            parts["start"] = self.start * (1 if jobs == 1 else 3)
        return Estimate({kind: parts[kind] for kind in KINDS if kind in parts}, tuple(unknown))

    def left_of(self, cells: Sequence[ResolvedCell]) -> Callable[[Sequence[Cell]], float | None]:
        """What tells how long some of these take once the others have ended; None if not known."""
        found = {cell.cell: cell for cell in cells}

        def left(waiting: Sequence[Cell]) -> float | None:
            ended = found.keys() - {*waiting}
            made = {item.name for cell in ended for item in self.items(found[cell])}
            estimate = self.of([found[cell] for cell in waiting], made)
            return None if estimate.unknown or not estimate.parts else estimate.seconds

        return left

    def items(self, cell: ResolvedCell) -> tuple[Item, ...]:
        """All that is missing for a cell."""
        if cell.key not in self._items:
            self._items[cell.key] = self._of_cell(cell)
        return self._items[cell.key]

    def _of_cell(self, cell: ResolvedCell) -> tuple[Item, ...]:
        labels = cell.labels
        needs = (labels.needs, labels.images.needs)
        trained = self.experiment.teacher_source[1] is None
        found = []
        if trained or any(each.snapshots for each in needs):
            found += self._teacher()
        found += [*self._images(labels.images), *self._told_of(labels.images)]
        found += [*self._labels(cell), *self._student(cell)]
        return tuple(found)

    def _teacher(self) -> Iterator[Item]:
        given = self.experiment
        if given.cache.done("teacher", given.training_key):
            return
        options, network = given.teacher_options, given.teacher_source[0]
        epochs = options.stop or options.epochs
        seconds = None
        for key, taken in self.history.made("teacher"):
            past = key.get("options", {})
            if key.get("network") == network and key.get("train") == given.facts["train"]:
                seconds = taken * epochs / (past.get("stop") or past["epochs"])
        if seconds is None:
            images = epochs * len(given.dataset.train)
            passes = Passes(network, images, options.batch_size, trained=True)
            seconds = self._seconds(Work((passes,), reads=images), self._teachers_plan(options))
        yield Item("teacher", "teacher", seconds, f"the training of the teacher {network}")

    def _teachers_plan(self, options: TeacherOptions) -> ViewPlan:
        train = self.experiment.dataset.train
        views = Augmentation((options.crop_low, 1.0), mix="none")
        return ViewPlan(0, len(train), train.resolution, options.batch_size, 1, views)

    def _images(self, images: ResolvedImages) -> Iterator[Item]:
        given = self.experiment
        if images.base is not None:
            yield from self._images(images.base)
        if given.cache.done("images", images.key):
            return
        source = image_source(images.name)(images.options)
        past = [s for key, s in self.history.made("images") if _alike(key, images, source.draws)]
        seconds = past[0] if past else None
        if seconds is None:
            work = source.work(given.dataset, images.ipc)
            plan = self._teachers_plan(given.teacher_options)
            seconds = None if work is None else self._seconds(work, plan)
        yield Item("images", digest(images.key), seconds, f"the making of {images.source}")

    def _told_of(self, images: ResolvedImages) -> Iterator[Item]:
        """What records say of images: how alike a class's are, and their bytes as pictures."""
        given, of = self.experiment, f"the comparison of {images.source}"
        key = given.image_stages.similarity_key(images)
        if self.pace is None or given.cache.done("similarity", key):
            return  # records do not tell it apart
        each = _sum(
            [self._rate(Subject(self._named(TEACHER), COMPARED, False)), self.pace.of_weighing]
        )
        count = images.ipc * len(given.dataset.class_names)
        yield Item("images", f"told {digest(images.key)}", _times(each, count), of)

    def _labels(self, cell: ResolvedCell) -> Iterator[Item]:
        labels, given = cell.labels, self.experiment
        if given.cache.done("labels", labels.key):
            return
        work, names = self._work(labels), self.runner.names(cell.cell)
        seconds = self.history.fit(names)
        if seconds is None and work is not None:
            seconds = self._seconds(work, labels.plan)
        if seconds is None:
            seconds = self.history.fit(names, nearest=True)
        own = labels.digest
        if work is not None and work.shared:
            own = digest([labels.fitting, labels.variant.method, str(labels.options)])
        yield Item("labels", own, seconds, f"the fit of {labels.variant.label}")

    def _work(self, labels: ResolvedLabels) -> Work | None:
        given = self.experiment
        shape = task_shape(len(given.dataset.class_names), labels.plan)
        kept = len(given.teacher_options.snapshot_epochs())
        amounts = Amounts(shape, len(given.dataset.train), kept)
        return method(labels.variant.method).work(labels.options, amounts)

    def _student(self, cell: ResolvedCell) -> Iterator[Item]:
        """Training, on a stream of labels that others may share; its test, and its timing."""
        labels, network = cell.labels, cell.cell.student
        plan, share = labels.plan, self.experiment.runtime.share
        batch, views = plan.sizes()[0], plan.images * plan.epochs
        step = self._rate(Subject(network, batch, True))
        work = self._work(labels)
        shown = self._views(plan)
        names = work.online if work is not None else ()
        online = [self._rate(Subject(self._named(name), batch, False)) for name in names]
        supply = _sum([shown, *online])
        past = self.history.student(self.runner.names(cell.cell))
        what = f"the training of {network}"
        if past is not None:
            yield Item("students", cell.key, past)
        else:
            of_stream = stream(cell) if share else cell.key
            yield Item("students", f"stream {of_stream}", _times(supply, views), what)
            yield Item("students", cell.key, _times(step, views), what)
        if labels.recipe.stop == "held-out":
            name = f"pilot {digest([labels.digest, network])}"
            yield Item("students", name, _times(_sum([step, supply]), views), what)
        whole = _times(_sum([step, supply]), batch)
        parts = [_times(step, batch), whole, _times(_sum(online), batch) if online else 0.0]
        timing = _sum([_timing(part) for part in parts])
        count, size = (
            len(self.experiment.dataset.test),
            at_once(self.experiment.runtime.compute.device),
        )
        tested = self._beside(_times(self._rate(Subject(network, size, False)), count), count)
        yield Item("tests and timing", f"test {cell.key}", _sum([tested, timing]), what)

    def _seconds(self, work: Work, plan: ViewPlan) -> float | None:
        """Of passes on views of such a plan, and of reading what they show."""
        each = [
            _times(
                _sum([self._rate(Subject(self._named(p.network), p.batch, p.trained)), shown]),
                p.images,
            )
            for p in work.passes
            for shown in [self._views(plan) if p.rendered else 0.0]
            if p.images
        ]
        return self._beside(_sum(each), work.reads)

    def _beside(self, seconds: float | None, reads: int) -> float | None:
        """Of work for which so many pictures are read: by the processor, which may be at it too."""
        if seconds is None or self.pace is None:
            return seconds  # records do not tell readings apart
        reading = reads * self.pace.of_reading
        on_cpu = self.experiment.runtime.compute.device.type == "cpu"
        return seconds + reading if on_cpu else max(seconds, reading)

    def _named(self, network: str) -> str:
        return self.experiment.teacher_source[0] if network == TEACHER else network

    def _rate_of(self, subject: Subject) -> float | None:
        if self.pace is not None:
            return self.pace.of_network(subject)
        return self.history.of_network(subject, self.experiment.dataset.train.resolution)

    def _views(self, plan: ViewPlan) -> float | None:
        if self.pace is not None:
            return self.pace.of_views(replace(plan, epochs=1))
        return self.history.of_views(plan.resolution)


def said(estimate: Estimate, device: str, timed: bool) -> list[str]:
    """An estimate in words, a line each.

    Args:
        timed: whether steps were timed; if not, what is not known will be once they are.
    """
    if not estimate.parts or (estimate.unknown and not timed):
        return ["how long it takes is known once the run has timed a few steps"]
    seconds = estimate.seconds
    meant = ": meant for a GPU" if device == "cpu" and seconds > LONG else ""
    more = "at least " if estimate.unknown else ""
    parts = ", ".join(f"{kind} {spoken(taken)}" for kind, taken in estimate.parts.items())
    lines = [f"it takes {more}about {spoken(seconds)}{meant} ({parts})"]
    if estimate.unknown:
        lines.append(f"not known: how long {', '.join(estimate.unknown)} takes")
    return lines


def _alike(key: dict[str, Any], images: ResolvedImages, draws: str) -> bool:
    """Whether a stage's images were made as these, but for their draw."""
    own = {name: value for name, value in images.key["options"].items() if name != draws}
    past = {name: value for name, value in key.get("options", {}).items() if name != draws}
    names = ("source", "ipc", "dataset")
    made, asked = ([each.get(name) for name in names] for each in (key, images.key))
    return digest([*made, past]) == digest([*asked, own])


def _timing(step: float | None) -> float | None:
    """Of timing a step: once to warm up, once to see how often, then in turn."""
    return None if step is None else 2 * step + REPEATS * max(LEAST_SECONDS, step)


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
