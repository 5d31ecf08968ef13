"""One cell: a student trained on an artefact's labels, tested, timed, and written as a record."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from ..core import plugins
from ..core.files import digest, disk_is_full, read_json
from ..data.recipe import Recipe
from ..labels import student
from ..labels.contract import LabelSource, method
from ..labels.student import Student
from ..models.networks import module_of
from ..records import store
from ..records.environment import world
from ..records.record import SCHEMA, CellNames, Record
from . import evaluate, fitter, pilot, ridge_student
from .evaluate import Build
from .failures import Failure, describe
from .grid import Cell
from .image_stages import ARTEFACT_SEED
from .make_record import make_record
from .pilot import Pilot
from .stages import Experiment, ResolvedLabels

RECORDS, FAILURES = "records", "failures"
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
        return self.record.exists()


class Cells:
    """The cells of an experiment in this world."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.world = world(experiment.runtime.compute)
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
            experiment.key(decides, *_modules(labels.recipe, cell.student, evaluate.__name__))
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

    def run(self, resolved: ResolvedCell, wait: bool) -> Failure | bool:
        """Measure one cell and write its record, unless it is there and `force` is not set.

        Args:
            wait: whether to wait for another run that is at work on this cell.

        Returns:
            False if another run is at work on it and `wait` is not set; what went wrong, if
            anything did.
        """
        runtime = self.experiment.runtime
        lock = FileLock(runtime.work / "locks" / f"{resolved.record.stem}.lock")
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return False
        try:
            if not runtime.force and resolved.done:
                return True
            return self._run(resolved) or True
        finally:
            lock.release()

    def _run(self, resolved: ResolvedCell) -> Failure | None:
        work, failed = self.experiment.runtime.work, self._stages(resolved.labels)
        if failed is None:
            try:
                store.write(work / RECORDS, self._measure(resolved))
            except Exception as error:
                if disk_is_full(error):  # so would be every other cell's
                    raise
                failed = describe(
                    error, plugins.sources_of(plugins.METHODS, resolved.cell.variant.method)
                )
        told = work / FAILURES / f"{resolved.key}.txt"
        if failed is None:
            told.unlink(missing_ok=True)
        else:
            failed.write(told, resolved.cell.label)
        return failed

    def _stages(self, labels: ResolvedLabels) -> Failure | None:
        """Have all stages made that are missing; what failed once is not tried again."""
        experiment, key = self.experiment, labels.digest
        if key not in self._failed and experiment.missing(labels):
            failed = fitter.call(fitter.make_stages, fitter.Given.of(experiment), labels)
            if failed is not None:
                self._failed[key] = failed
        return self._failed.get(key)

    def _measure(self, resolved: ResolvedCell) -> Record:
        experiment, cell, labels = self.experiment, resolved.cell, resolved.labels
        (folder, _), recipe = experiment.finished(labels), labels.recipe

        def fresh(seed: int) -> tuple[Student, LabelSource]:
            source = method(cell.variant.method).load(
                folder / "artefact", experiment.task(labels, seed)
            )
            return EVALUATORS[recipe.evaluator](cell.student, source, seed), source

        # Repeats over draws of the images are repeats over initial weights too.
        seed = cell.seed + SEEDS * self.names(cell)["draw"]
        looks = None
        if recipe.stop == "held-out":
            looks = self._pilot(resolved, *fresh(pilot.SEED))
        length = replace(recipe, epochs=looks.chosen, steps=0) if looks else recipe
        checkpoint = experiment.runtime.work / "checkpoints" / f"{resolved.record.stem}.pt"
        classifier, source = fresh(seed)
        test = experiment.dataset.test
        measured = evaluate.evaluate(classifier, source, length, test, checkpoint, cell.label)
        return make_record(
            experiment,
            resolved.key,
            cell,
            labels,
            self.names(cell),
            self.world,
            source,
            measured,
            looks,
        )

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
        folder = experiment.cache.make("pilot", key, build_stage)
        return read_json(folder / pilot.FILE, Pilot)


def _modules(recipe: Recipe, network: str, *modules: str) -> list[str]:
    """Whose code a student's result depends on, beside that of its labels."""
    return [*modules, EVALUATORS[recipe.evaluator].__module__, module_of(network)]
