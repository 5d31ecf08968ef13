"""Cells: students trained on an artefact's labels, tested, timed, and written as records."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from ..core import plugins, ranks
from ..core.files import digest, disk_is_full, read_json
from ..core.progress import stage
from ..data.recipe import Recipe
from ..labels import streams, student
from ..labels.contract import LabelSource, method
from ..labels.streams import Learner
from ..labels.student import Student
from ..models.networks import module_of
from ..records import store
from ..records.environment import world
from ..records.record import SCHEMA, CellNames, Record
from . import evaluate, fitter, pilot, ridge_student
from .evaluate import Build, Measured
from .failures import Failure, describe
from .grid import Cell
from .image_stages import ARTEFACT_SEED
from .make_record import make_record
from .pilot import Pilot
from .stages import Experiment, ResolvedLabels
from .tally import Tally

RECORDS, FAILURES = "records", "failures"
CHECKPOINTS, LOCKS = "checkpoints", "locks"
RUN = "run"  # among the locks: held by every run in a work folder, as long as it goes on
SEEDS = 10_000  # between the students' seeds of two draws
EVALUATORS: dict[str, Build] = {"network": student.build, "ridge": ridge_student.build}


@dataclass(frozen=True)
class ResolvedCell:
    """A cell, its labels, and where its record is or will be.

    Attributes:
        key: what decides the record, 24 hexadecimal digits.
        record: the file of this world's record.
    """

    cell: Cell
    labels: ResolvedLabels
    key: str
    record: Path

    @property
    def done(self) -> bool:
        """Whether this world has its record, undamaged."""
        return self.record.exists() and store.damage(self.record) is None


class Cells:
    """The cells of an experiment in this world.

    Attributes:
        tally: of those that are measured.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.tally = experiment, Tally()
        self.world = world(experiment.runtime.compute)
        self._modules = cache(_modules)
        self._failed: dict[str, Failure] = {}

    def resolve(self, cell: Cell, labels: ResolvedLabels) -> ResolvedCell:
        """The cell with its record's key and file."""
        experiment = self.experiment
        decides = {
            "labels": labels.digest,
            "student": cell.student,
            "seed": cell.seed,
            "recipe": asdict(labels.recipe),
            "teacher": experiment.teacher_key,
            "test": experiment.dataset.test.digest,
            "schema": SCHEMA,
        }
        key = digest(
            experiment.key(decides, *self._modules(labels.recipe, cell.student, evaluate.__name__))
        )[:24]
        folder = experiment.runtime.work / RECORDS
        return ResolvedCell(
            cell, labels, key, store.path_of(folder, key, store.world_digest(self.world))
        )

    def names(self, cell: Cell) -> CellNames:
        """The cell as records and tables name it."""
        grid, known = self.experiment.grid, self.experiment.on_protocol(cell.ipc, cell.student)
        source, draw = self.experiment.image_stages.without_draw(cell.images)
        return CellNames(
            dataset=grid.dataset,
            images=cell.images,
            source=source,
            draw=draw,
            ipc=cell.ipc,
            method=cell.variant.label,
            student=cell.student,
            recipe=grid.recipe + ("" if known else " (changed)"),
            teacher=grid.teacher,
            seed=cell.seed,
        )

    def run(self, group: Sequence[ResolvedCell], wait: bool) -> dict[Cell, Failure | None]:
        """Measure cells that share their labels, and write their records.

        Those that have one already are left alone, unless `force` is set.

        Args:
            wait: whether to wait for another run that is at work on one of these cells.

        Returns:
            What went wrong with each cell, if anything did; cells that another run is at work
            on, and that are not waited for, are left out.
        """
        runtime, failed = self.experiment.runtime, dict[Cell, Failure | None]()
        with contextlib.ExitStack() as held:
            ours = []
            for resolved in sorted(group, key=lambda cell: cell.record.stem):  # as others do
                lock = FileLock(runtime.work / LOCKS / f"{resolved.record.stem}.lock")
                Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
                try:
                    lock.acquire(timeout=-1 if wait else 0)
                except Timeout:
                    continue
                held.callback(lock.release)
                failed[resolved.cell] = None
                if runtime.force or not self._done(resolved):
                    ours.append(resolved)
            if ours:
                failed |= self._run([cell for cell in group if cell in ours])
        return failed

    def _done(self, resolved: ResolvedCell) -> bool:
        """Whether the cell has its record by now, here or where the work folder is."""
        remote = self.experiment.runtime.remote
        far = f"{RECORDS}/{resolved.record.name}"
        return resolved.done or (remote is not None and remote.fetch(far) and resolved.done)

    def _run(self, group: Sequence[ResolvedCell]) -> dict[Cell, Failure]:
        """Make what is missing, train, and write a record or a failure for each cell."""
        runtime, labels = self.experiment.runtime, group[0].labels
        wrong = self._stages(labels)
        made: list[Record | Failure] = [wrong] * len(group) if wrong else []
        if wrong is None:
            try:
                others = f" and {len(group) - 1} more" if len(group) > 1 else ""
                with stage("students", f"{group[0].cell.label}{others}", aloud=False):
                    made = [self._described(each, labels) for each in self._measure(group)]
            except Exception as error:
                if disk_is_full(error):  # so would be every other cell's
                    raise
                made = [self._described(error, labels)] * len(group)
        failed = {}
        for resolved, result in zip(group, made, strict=True):
            told = runtime.work / FAILURES / f"{resolved.key}.txt"
            if isinstance(result, Failure):
                result.write(told, resolved.cell.label)
                runtime.keep(told)
                failed[resolved.cell] = result
            else:
                runtime.keep(store.write(runtime.work / RECORDS, result))
                runtime.drop(told)
        return failed

    def _described(self, result: Record | Exception, labels: ResolvedLabels) -> Record | Failure:
        if not isinstance(result, Exception):
            return result
        if disk_is_full(result):
            raise result
        return describe(result, plugins.sources_of(plugins.METHODS, labels.variant.method))

    def _stages(self, labels: ResolvedLabels) -> Failure | None:
        """Have all stages made that are missing; what failed once is not tried again."""
        experiment, key = self.experiment, labels.digest
        if key not in self._failed and experiment.missing(labels):
            failed = fitter.call(fitter.make_stages, fitter.Given.of(experiment), labels)
            if failed is not None:
                self._failed[key] = failed
        return self._failed.get(key)

    def _measure(self, group: Sequence[ResolvedCell]) -> list[Record | Exception]:
        """The records of cells that share their labels, or what went wrong with each."""
        if ranks.count() > 1:
            ranks.told([each.cell for each in group])
            with ranks.together():
                pass  # the others resolve them
        learners, measured, looks = self.train(group)
        return [
            result
            if isinstance(result, Exception)
            else make_record(
                self.experiment,
                each.key,
                each.cell,
                each.labels,
                self.names(each.cell),
                self.world,
                learner.source,
                result,
                looks,
            )
            for each, learner, result in zip(group, learners, measured, strict=True)
        ]

    def train(
        self, group: Sequence[ResolvedCell]
    ) -> tuple[list[Learner], list[Measured | Exception], Pilot | None]:
        """Train, test and time the students of cells that share their labels.

        Where several processes train them together, all come here at once.

        Returns:
            The students, their figures or what went wrong with each, and their pilot if any.
        """
        with ranks.together():
            learners, looks = self._learners(group)
        labels, first, recipe = group[0].labels, learners[0].source, group[0].labels.recipe
        other = next((one for one in learners if one.source.task.seed != first.task.seed), None)
        if other is not None and not first.seeded:
            streams.check_shared(first, self._load(labels, other.source.task.seed))
        length = replace(recipe, epochs=looks.chosen, steps=0) if looks else recipe
        streamed = [[one] for one in learners] if first.seeded else [learners]
        test = self.experiment.dataset.test
        measured = [m for some in streamed for m in evaluate.evaluate(some, length, test)]
        return learners, measured, looks

    def _load(self, labels: ResolvedLabels, seed: int) -> LabelSource:
        """The labels from disk, for a student of this seed."""
        folder, _ = self.experiment.finished(labels)
        cls = method(labels.variant.method)
        return cls.load(folder / "artefact", self.experiment.task(labels, seed))

    def _learners(self, group: Sequence[ResolvedCell]) -> tuple[list[Learner], Pilot | None]:
        """The untrained students of cells that share their labels, and their pilot if any."""
        experiment, labels = self.experiment, group[0].labels
        recipe = labels.recipe

        def built(cell: Cell, source: LabelSource) -> Student:
            return EVALUATORS[recipe.evaluator](cell.student, source, source.task.seed)

        looks = None
        if recipe.stop == "held-out":
            source = self._load(labels, pilot.SEED)
            looks = self._pilot(group[0], built(group[0].cell, source), source)
        # Repeats over draws of the images are repeats over initial weights too.
        seeds = [each.cell.seed + SEEDS * self.names(each.cell)["draw"] for each in group]
        first = self._load(labels, seeds[0])
        learners = []
        for number, (each, seed) in enumerate(zip(group, seeds, strict=True)):
            again = first.seeded and number
            source = self._load(labels, seed) if again else first.for_student(seed)
            file = experiment.runtime.work / CHECKPOINTS / f"{each.record.stem}.pt"
            learners.append(Learner(built(each.cell, source), source, each.cell.label, file))
        return learners, looks

    def _pilot(self, resolved: ResolvedCell, classifier: Student, source: LabelSource) -> Pilot:
        """How many epochs to train; chosen once for all seeds."""
        experiment, cell = self.experiment, resolved.cell
        train = experiment.dataset.train

        def build_stage(folder: Path) -> None:
            task = experiment.task(resolved.labels, ARTEFACT_SEED)
            held = pilot.kept_apart(task, train)
            label = f"pilot of {cell.label}"
            pilot.run(classifier, source, resolved.labels.recipe, held, folder, label)

        key = {
            "labels": resolved.labels.digest,
            "student": cell.student,
            "recipe": asdict(resolved.labels.recipe),
            "train": train.digest,
        }
        key = experiment.key(key, *_modules(resolved.labels.recipe, cell.student, pilot.__name__))
        folder = experiment.cache.make("pilot", key, build_stage, cell.label)
        return read_json(folder / pilot.FILE, Pilot)


def _modules(recipe: Recipe, network: str, *modules: str) -> list[str]:
    """Whose code a student's result depends on, beside that of its labels."""
    return [*modules, EVALUATORS[recipe.evaluator].__module__, module_of(network)]
