"""What a run is made of: tasks that machines side by side can do, and what each waits for.

teacher -> its test; teacher -> parts of images -> images -> their similarity, shards of labels ->
fit -> students, with their tests and records. Whatever is there already has no task.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from ..data.images import ResidentImages
from ..labels.contract import method
from ..labels.task import task_shape
from ..labels.teacher_logits import RESIDENT_BYTES
from .failures import Failed, Failure
from .fitter import Given, told
from .grid import Cell
from .groups import Group, grouped
from .image_stages import ResolvedImages
from .run_cell import Cells, ResolvedCell
from .run_grid import Told, measure
from .stages import Experiment, ResolvedLabels

BASE_BYTES = 2 * 2**30  # of a process: libraries, a network, what it computes on a batch
STUDENTS = "students"


@dataclass(frozen=True)
class Outcome:
    """What became of students.

    Attributes:
        failed: cells that failed, each by itself.
        told: of each cell that was measured, how long it took, or why it failed.
    """

    failed: tuple[tuple[Cell, Failure], ...] = ()
    told: tuple[Told, ...] = ()


Work = Callable[[Given], Failure | None] | Callable[[Given], Outcome]


@dataclass(eq=False)
class Task:
    """Work that is done in one process, at one go.

    Attributes:
        kind: of stage, in a word or two.
        about: what of, in a line.
        work: what is done; it can be sent to another process. Students' gives an `Outcome`, and
            must be done in another process than the others'.
        bytes: of memory that it takes, about.
        after: what has to be there before.
        helps: what is better there before, and made on the way where it failed.
        cells: that wait for it in the end, if it is their measurement.
    """

    kind: str
    about: str
    work: Work
    bytes: int = BASE_BYTES
    after: tuple["Task", ...] = ()
    helps: tuple["Task", ...] = ()
    cells: tuple[ResolvedCell, ...] = ()


class Tasks:
    """The tasks of a run, in an order in which each comes after what it waits for.

    Args:
        side_by_side: tasks that are worth having at the end, so that all machines have work.
    """

    def __init__(
        self, experiment: Experiment, missing: Sequence[ResolvedCell], side_by_side: int
    ) -> None:
        self.experiment, self.all = experiment, list[Task]()
        self._known: dict[Any, Task | None] = {}
        for group in grouped(missing, experiment.runtime.share, side_by_side):
            self._students(group)

    def _students(self, group: Group) -> None:
        labels, cells = group[0].labels, tuple(each.cell for each in group)
        images = labels.images
        after = (self._fit(labels), self._images(images), self._similarity(images), self._test())
        about = cells[0].label + (f" and {len(cells) - 1} more" if len(cells) > 1 else "")
        size = self._bytes(images, labels)
        work = partial(measure_students, cells=cells)
        self._add(Task(STUDENTS, about, work, size, _those(after), cells=tuple(group)))

    def _fit(self, labels: ResolvedLabels) -> Task | None:
        given, name = self.experiment, labels.variant.method
        folder = given.cache.folder("labels", labels.key)
        if folder not in self._known:
            task = None
            if not given.cache.done("labels", labels.key):
                about = f"{labels.variant.label} on {labels.images.source} IPC {labels.images.ipc}"
                after = _those([self._teacher(labels), self._images(labels.images)])
                shards = _those(
                    self._shard(stage, part, labels, about)
                    for stage, part in given.missing_shards(labels).items()
                )
                work = partial(make, name=name, stage="labels_folder", arguments=(labels,))
                size = self._bytes(labels.images, labels)
                task = self._add(Task("fit", about, work, size, after, shards))
            self._known[folder] = task
        return self._known[folder]

    def _shard(
        self, stage: Any, part: Sequence[int], labels: ResolvedLabels, about: str
    ) -> Task | None:
        """One shard of labels, which several fits may read."""
        if stage not in self._known:
            after = _those([self._teacher(labels), self._images(labels.images)])
            name, arguments = labels.variant.method, (labels, part)
            work = partial(make, name=name, stage="label_shard", arguments=arguments)
            about = f"batches {part[0]} to {part[-1]} for {about}"
            size = self._bytes(labels.images)
            self._known[stage] = self._add(Task("label shard", about, work, size, after))
        return self._known[stage]

    def _images(self, images: ResolvedImages) -> Task | None:
        given = self.experiment
        folder = given.cache.folder("images", images.key)
        if folder not in self._known:
            task = None
            if not given.cache.done("images", images.key):
                about = f"{images.source} IPC {images.ipc}"
                base = self._images(images.base) if images.base is not None else None
                after = _those([self._teacher(images), base])
                ranges = given.image_stages.parts(images)
                parts = tuple(
                    self._part(images, each, after)
                    for each in (ranges if len(ranges) > 1 else ())
                    if not given.image_stages.has(images, each)
                )
                work = partial(make, name="", stage="image_stages.folder", arguments=(images,))
                task = Task("images", about, work, self._bytes(images), after, parts)
                self._add(task)
            self._known[folder] = task
        return self._known[folder]

    def _part(self, images: ResolvedImages, classes: range, after: tuple[Task, ...]) -> Task:
        """The images of a range of classes."""
        about = f"{classes.start} to {classes.stop - 1} of {images.source} IPC {images.ipc}"
        work = partial(make, name="", stage="image_stages.part", arguments=(images, classes))
        return self._add(Task("images of classes", about, work, self._bytes(images), after))

    def _similarity(self, images: ResolvedImages) -> Task | None:
        given = self.experiment
        key = given.image_stages.similarity_key(images)
        folder = given.cache.folder("similarity", key)
        if folder not in self._known:
            task = None
            if not given.cache.done("similarity", key):
                about = f"{images.source} IPC {images.ipc}"
                work = partial(make, name="", stage="image_stages.similarity", arguments=(images,))
                after = _those([self._teacher(), self._images(images)])
                task = self._add(Task("similarity", about, work, self._bytes(images), after))
            self._known[folder] = task
        return self._known[folder]

    def _test(self) -> Task | None:
        given = self.experiment
        if "test" not in self._known:
            there = given.cache.done("teacher-accuracy", given.tested_key)
            work = partial(make, name="", stage="teacher_accuracy", arguments=())
            task = Task("teacher's test", given.grid.teacher, work, self._bytes())
            task.after = _those([self._teacher()])
            self._known["test"] = None if there else self._add(task)
        return self._known["test"]

    def _teacher(self, needing: ResolvedLabels | ResolvedImages | None = None) -> Task | None:
        """The training of the teacher, where what is needed comes of one here."""
        given = self.experiment
        trained = given.teacher_source[1] is None
        if needing is not None and not needing.needs.snapshots:
            trained = trained and needing.needs.teacher
        elif needing is not None:
            trained = True
        if not trained:
            return None
        if "teacher" not in self._known:
            there = given.cache.done("teacher", given.training_key)
            work = partial(make, name="", stage="trained", arguments=())
            task = Task("teacher", given.grid.teacher, work, self._bytes())
            self._known["teacher"] = None if there else self._add(task)
        return self._known["teacher"]

    def _bytes(
        self, images: ResolvedImages | None = None, labels: ResolvedLabels | None = None
    ) -> int:
        """Memory of a task that has the dataset, these images and these labels at hand."""
        given = self.experiment
        dataset, found = given.dataset, BASE_BYTES
        sets = [dataset.train, dataset.test]
        found += sum(each.pixels.nbytes for each in sets if isinstance(each, ResidentImages))
        train, classes = dataset.train, len(dataset.class_names)
        if images is not None:
            found += images.ipc * classes * train.channels * train.resolution**2
        if labels is not None:
            cls, shape = method(labels.variant.method), task_shape(classes, labels.plan)
            found += min(RESIDENT_BYTES, cls.label_bytes(labels.options, shape) or 0)
        return found

    def _add(self, task: Task) -> Task:
        self.all.append(task)
        return task


def _those(tasks: Iterable[Task | None]) -> tuple[Task, ...]:
    return tuple(task for task in tasks if task is not None)


def make(given: Given, name: str, stage: str, arguments: Sequence[Any]) -> Failure | None:
    """Make a stage of an experiment.

    Args:
        name: of the label source whose code may fail, if any.
        stage: the experiment's method that makes it, with dots.
        arguments: of that.
    """
    with told(name) as failed:
        attrgetter(stage)(given.opened())(*arguments)
    return failed[0] if failed else None


def measure_students(given: Given, cells: Sequence[Cell]) -> Outcome:
    """Train students, test them, and write their records."""
    experiment = given.opened()
    runner, labels = Cells(experiment), experiment.resolve(cells).labels
    spoken: list[Told] = []
    failed: Failed = measure(
        runner,
        [runner.resolve(cell, labels[cell]) for cell in cells],
        lambda cell, took: spoken.append((cell, took)),
    )
    return Outcome(tuple(failed.items()), tuple(spoken))
