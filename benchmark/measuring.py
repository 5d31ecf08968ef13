"""One cell: a student trained on an artefact's labels, tested, timed, and written as a record."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from . import artefact, code_version, distilled, records, registry, ridge_student, stopping, student
from .classifier import correct
from .contract import LabelSource
from .environment import environment, world
from .grid import Cell
from .pipeline import Pipeline
from .record import SCHEMA, CellNames, Inputs, Record, Result, Storage, as_json, pack_bits
from .stages import digest
from .student import Student
from .throughput import measure

RECORDS = "records"
TESTERS = {"network": student.build, "ridge": ridge_student.build}


def record_key(pipeline: Pipeline, cell: Cell) -> str:
    """What decides a record: SHA-256, shortened."""
    key = {
        "labels": pipeline.labels_key(cell),
        "student": cell.student,
        "seed": cell.seed,
        "recipe": asdict(pipeline.recipe),
        "test": pipeline.dataset.test.digest,
        "schema": SCHEMA,
        "code": code_version.of_modules("throughput", *stopping.CODE),
    }
    return digest(key)[:24]


def record_path(pipeline: Pipeline, cell: Cell) -> Path:
    """Where the cell's record is, or will be."""
    here = records.world_digest(world(pipeline.runtime.compute))
    return records.path_of(pipeline.runtime.work / RECORDS, record_key(pipeline, cell), here)


def names(pipeline: Pipeline, cell: Cell) -> CellNames:
    """The cell as records and tables name it."""
    return CellNames(
        dataset=pipeline.grid.dataset,
        images=cell.images,
        ipc=cell.ipc,
        method=cell.variant.label,
        student=cell.student,
        recipe=pipeline.recipe.name + ("" if pipeline.on_protocol else " (changed)"),
        teacher=pipeline.grid.teacher,
        seed=cell.seed,
    )


def run(pipeline: Pipeline, cell: Cell, wait: bool) -> bool:
    """Measure one cell and write its record, unless it is there and `force` is not set.

    Args:
        wait: whether to wait for another run that is at work on this cell.

    Returns:
        False if another run is at work on it and `wait` is not set.
    """
    key = record_key(pipeline, cell)
    lock = FileLock(pipeline.runtime.work / "locks" / f"{key}.lock")
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return False
    try:
        if pipeline.runtime.force or not record_path(pipeline, cell).exists():
            records.write(pipeline.runtime.work / RECORDS, _measure(pipeline, cell, key))
    finally:
        lock.release()
    return True


def _measure(pipeline: Pipeline, cell: Cell, key: str) -> Record:
    folder = pipeline.labels_folder(cell)
    method, recipe = registry.method(cell.variant.method), pipeline.recipe

    def fresh(seed: int) -> tuple[Student, LabelSource]:
        source = method.load(folder / "artefact", pipeline.task(cell, seed))
        return TESTERS[recipe.tester](cell.student, source, seed), source

    stop = stopping.chosen(pipeline, cell, fresh) if recipe.stop == "held-out" else {}
    length = replace(recipe, epochs=stop["epochs"], steps=0) if stop else recipe
    checkpoint = pipeline.runtime.work / "checkpoints" / f"{key}.pt"
    classifier, source = fresh(cell.seed)
    started = time.perf_counter()
    curve = student.train(classifier, source, length, checkpoint, cell.label)
    seconds = time.perf_counter() - started
    right = correct(classifier, pipeline.dataset.test, pipeline.runtime.compute)
    fit = json.loads((folder / "fit.json").read_text())
    result = Result(
        accuracy=right.double().mean().item(),
        test_images=len(right),
        correct=pack_bits(right.numpy()),
        train_loss=as_json(curve),
        seconds_train=seconds,
        seconds_fit=fit.pop("seconds"),
        fit=as_json(fit),
    )
    throughput = measure(classifier, source, student.schedule(recipe, source))
    checkpoint.unlink(missing_ok=True)
    images = pipeline.image_stages.folder(cell.images, cell.ipc)
    requires = artefact.read_manifest(folder / "artefact")["requires"]
    return Record(
        schema=SCHEMA,
        key=key,
        cell=names(pipeline, cell),
        on_protocol=pipeline.on_protocol,
        precision="bf16" if pipeline.runtime.compute.bf16 else "fp32",
        recipe=asdict(pipeline.recipe),
        options=asdict(source.options),
        inputs=Inputs(
            train=pipeline.dataset.train.digest,
            test=pipeline.dataset.test.digest,
            images=source.task.images.digest,
            similarity=pipeline.image_stages.similarity(cell.images, cell.ipc),
            images_stage=pipeline.image_stages.folder(cell.images, cell.ipc).name,
            teacher=digest(pipeline.teacher_key),
            teacher_accuracy=pipeline.teacher_accuracy,
            labels=folder.name,
            **stop,
            set={k: str(v) for k, v in pipeline.grid.set.items()},
        ),
        storage=Storage(
            **source.storage().as_dict(),
            images=(images / distilled.FILE).stat().st_size,
            soft=source.task.shape.soft_bytes,
        ),
        prior=requires.get("prior", {}).get("name"),
        result=result,
        throughput=throughput,
        world=world(pipeline.runtime.compute),
        environment=environment(),
    )
