"""One cell: a student trained on an artefact's labels, tested, timed, and written as a record."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..core import plugins
from ..core.files import digest, disk_is_full, read_json
from ..data import distilled
from ..labels import artefact, student
from ..labels.contract import LabelSource
from ..labels.student import Student
from ..models.networks import module_of
from ..records import store
from ..records.environment import environment, world
from ..records.record import (
    SCHEMA,
    CellNames,
    Inputs,
    Record,
    Result,
    Storage,
    Throughput,
    as_json,
    pack_bits,
)
from . import evaluate, fitter, pilot, ridge_student
from .evaluate import Build, Measured
from .failures import Failure, describe
from .grid import Cell
from .image_stages import ARTEFACT_SEED
from .pilot import Pilot
from .stages import Experiment, ResolvedLabels

RECORDS, FAILURES = "records", "failures"
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
        self._evaluator = EVALUATORS[experiment.recipe.evaluator]
        self._failed: dict[str, Failure] = {}

    def resolve(self, cell: Cell, labels: ResolvedLabels) -> ResolvedCell:
        """The cell with its record's key and file."""
        experiment = self.experiment
        decides = {
            "labels": labels.digest,
            "student": cell.student,
            "seed": cell.seed,
            "recipe": asdict(experiment.recipe),
            "teacher": experiment.teacher_key,
            "test": experiment.dataset.test.digest,
            "schema": SCHEMA,
        }
        key = digest(experiment.key(decides, *self._modules(cell.student, evaluate.__name__)))[:24]
        folder = experiment.runtime.work / RECORDS
        return ResolvedCell(
            cell, labels, key, store.path_of(folder, key, store.world_digest(self.world))
        )

    def _modules(self, network: str, *modules: str) -> list[str]:
        return [*modules, self._evaluator.__module__, module_of(network)]

    def names(self, cell: Cell) -> CellNames:
        """The cell as records and tables name it."""
        grid, recipe = self.experiment.grid, self.experiment.recipe
        return CellNames(
            dataset=grid.dataset,
            images=cell.images,
            ipc=cell.ipc,
            method=cell.variant.label,
            student=cell.student,
            recipe=recipe.name + ("" if self.experiment.on_protocol else " (changed)"),
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
                failed = describe(error, plugins.sources_of(resolved.cell.variant.method))
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
        (folder, _), recipe = experiment.finished(labels), experiment.recipe

        def fresh(seed: int) -> tuple[Student, LabelSource]:
            method = plugins.method(cell.variant.method)
            source = method.load(folder / "artefact", experiment.task(labels, seed))
            return self._evaluator(cell.student, source, seed), source

        looks = None
        if recipe.stop == "held-out":
            looks = self._pilot(resolved, *fresh(pilot.SEED))
        length = replace(recipe, epochs=looks.chosen, steps=0) if looks else recipe
        checkpoint = experiment.runtime.work / "checkpoints" / f"{resolved.record.stem}.pt"
        classifier, source = fresh(cell.seed)
        test = experiment.dataset.test
        measured = evaluate.evaluate(classifier, source, length, test, checkpoint, cell.label)
        return self._record(resolved, source, measured, looks)

    def _pilot(self, resolved: ResolvedCell, classifier: Student, source: LabelSource) -> Pilot:
        """How many epochs to train; chosen once for all seeds."""
        experiment, cell = self.experiment, resolved.cell
        train = experiment.dataset.train

        def build_stage(folder: Path) -> None:
            task = experiment.task(resolved.labels, ARTEFACT_SEED)
            held = pilot.kept_apart(task, train)
            label = f"pilot of {cell.label}"
            pilot.run(classifier, source, experiment.recipe, held, folder, label)

        key = {
            "labels": resolved.labels.digest,
            "student": cell.student,
            "recipe": asdict(experiment.recipe),
            "train": train.digest,
        }
        key = experiment.key(key, *self._modules(cell.student, pilot.__name__))
        folder = experiment.cache.make("pilot", key, build_stage)
        return read_json(folder / pilot.FILE, Pilot)

    def _record(
        self, resolved: ResolvedCell, source: LabelSource, measured: Measured, looks: Pilot | None
    ) -> Record:
        experiment, labels = self.experiment, resolved.labels
        artefact_folder, fit = experiment.finished(labels)
        images = experiment.image_stages.folder(labels.images)
        requires = artefact.read_manifest(artefact_folder / "artefact")["requires"]
        chosen: dict[str, Any] = {}
        if looks is not None:
            seen = {"epochs": looks.epochs, "accuracy": looks.accuracy}
            chosen = {"epochs": looks.chosen, "pilot": seen}
        timings = measured.throughput
        throughput = Throughput(
            batch=timings.batch,
            seconds_bare_step=timings.bare_step,
            seconds_step=timings.step,
            seconds_targets=timings.targets,
        )
        if timings.floor is not None:
            throughput["seconds_floor"] = timings.floor
        return Record(
            schema=SCHEMA,
            key=resolved.key,
            cell=self.names(resolved.cell),
            on_protocol=experiment.on_protocol,
            precision=experiment.runtime.compute.precision,
            recipe=asdict(experiment.recipe),
            options=asdict(source.options),
            inputs=Inputs(
                train=experiment.dataset.train.digest,
                test=experiment.dataset.test.digest,
                images=source.task.images.digest,
                similarity=experiment.image_stages.similarity(labels.images),
                images_stage=images.name,
                teacher=digest(experiment.teacher_key),
                teacher_accuracy=experiment.teacher_accuracy(),
                labels=artefact_folder.name,
                **chosen,
                set={k: str(v) for k, v in experiment.grid.set.items()},
            ),
            storage=Storage(
                **source.storage().as_dict(),
                images=(images / distilled.FILE).stat().st_size,
                soft=source.task.shape.soft_bytes,
            ),
            prior=requires.get("prior", {}).get("name"),
            result=Result(
                accuracy=measured.correct.double().mean().item(),
                test_images=len(measured.correct),
                correct=pack_bits(measured.correct.numpy()),
                train_loss=as_json(measured.train_loss),
                seconds_train=measured.seconds,
                seconds_fit=fit.seconds,
                fit=as_json(fit.notes),
            ),
            throughput=throughput,
            world=self.world,
            environment=environment(),
        )
