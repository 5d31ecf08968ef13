"""What a cell's record says: from names and inputs to what was measured."""

from dataclasses import asdict
from typing import Any

from ..core import plugins, ranks
from ..core.files import digest
from ..core.plugins import Identity
from ..data import distilled
from ..labels import artefact
from ..labels.contract import LabelSource
from ..models.image_source import image_source
from ..models.networks import family_of
from ..records.environment import environment
from ..records.record import (
    SCHEMA,
    Batched,
    CellNames,
    Inputs,
    Joint,
    Plugin,
    Record,
    Result,
    Roles,
    Storage,
    Throughput,
    World,
    as_json,
    pack_bits,
)
from .evaluate import Measured
from .grid import Cell
from .pilot import Pilot
from .stages import Experiment, Fit, ResolvedLabels
from .throughput import Timings


def make_record(
    experiment: Experiment,
    key: str,
    cell: Cell,
    labels: ResolvedLabels,
    names: CellNames,
    world: World,
    source: LabelSource[Any],
    measured: Measured,
    pilot: Pilot | None,
) -> Record:
    """The record of a cell that was measured with the labels of `source`."""
    folder, fit = experiment.finished(labels)
    images = experiment.image_stages.folder(labels.images)
    pictures = experiment.image_stages.picture_bytes(labels.images)
    requires = artefact.read_manifest(folder / "artefact")["requires"] if source.ships else {}
    return Record(
        schema=SCHEMA,
        key=key,
        cell=names,
        on_protocol=experiment.on_protocol(cell.ipc, cell.student),
        precision=experiment.runtime.compute.precision,
        recipe=asdict(labels.recipe),
        options=asdict(source.options),
        inputs=_inputs(experiment, labels, source, folder.name, pilot),
        roles=Roles(control=source.control, baseline=image_source(labels.images.name).baseline),
        plugins=[Plugin(**asdict(each)) for each in _plugins(experiment, cell, labels)],
        storage=Storage(
            **source.storage().as_dict(),
            images=(images / distilled.FILE).stat().st_size,
            soft=source.task.shape.soft_bytes,
            images_png=pictures["png"],
            images_jpeg=pictures["jpeg"],
        ),
        prior=requires.get("prior", {}).get("name"),
        result=_result(measured, fit, experiment.runtime.jobs),
        throughput=_throughput(measured.throughput),
        world=world,
        environment=environment(),
    )


def _inputs(
    experiment: Experiment,
    labels: ResolvedLabels,
    source: LabelSource[Any],
    stage: str,
    pilot: Pilot | None,
) -> Inputs:
    images = source.task.images
    made = Inputs(
        train=experiment.dataset.train.digest,
        test=experiment.dataset.test.digest,
        images=images.digest,
        similarity=experiment.image_stages.similarity(labels.images),
        classes=len(images.class_names),
        resolution=images.resolution,
        images_stage=experiment.image_stages.folder(labels.images).name,
        teacher=digest(experiment.teacher_key),
        teacher_accuracy=experiment.teacher_accuracy(),
        labels=stage,
        set={name: str(value) for name, value in experiment.grid.set.items()},
    )
    if experiment.grid.accept:
        made["accepted"] = sorted(experiment.grid.accept)
    if pilot is not None:
        made["epochs"] = pilot.chosen
        made["pilot"] = {"epochs": pilot.epochs, "accuracy": pilot.accuracy}
    return made


def _result(measured: Measured, fit: Fit, jobs: int) -> Result:
    trained = measured.trained
    made = Result(
        accuracy=measured.correct.double().mean().item(),
        test_images=len(measured.correct),
        correct=pack_bits(measured.correct.numpy()),
        train_loss=as_json(measured.train_loss),
        seconds_train=measured.seconds,
        seconds_fit=fit.seconds,
        fit=as_json(fit.notes),
    )
    students = len(trained.curves)
    if students > 1 or jobs > 1:
        batched = Batched(students=students, stacked=trained.stacks > 0, jobs=jobs)
        if trained.stacks > 1:
            batched["stacks"] = trained.stacks
        if trained.seconds_step:
            batched["seconds_in_turn"] = trained.seconds_step["in turn"]
        if "stacked" in trained.seconds_step:
            batched["seconds_stacked"] = trained.seconds_step["stacked"]
        made["batched"] = batched
    if measured.parts > 1:
        made["micro_batches"] = measured.parts
    if ranks.count() > 1:
        norm = "synchronised" if measured.batch_norm else "none"
        made["joint"] = Joint(processes=ranks.count(), batch_norm=norm)
    return made


def _throughput(timings: Timings) -> Throughput:
    made = Throughput(
        batch=timings.batch,
        seconds_bare_step=timings.bare_step,
        seconds_step=timings.step,
        seconds_targets=timings.targets,
    )
    if timings.devices > 1:
        made["devices"] = timings.devices
    if timings.floor is not None:
        made["seconds_floor"] = timings.floor
    return made


def _plugins(experiment: Experiment, cell: Cell, labels: ResolvedLabels) -> list[Identity]:
    """All plugins that a cell is measured with, built-in ones aside."""
    grid = experiment.grid
    images = [labels.images, *filter(None, [labels.images.base])]
    datasets = [grid.dataset, *(name for each in images for name in each.needs.datasets)]
    networks = [cell.student, experiment.teacher_source[0], *labels.needs.networks]
    named = [
        (plugins.METHODS, labels.variant.method),
        (plugins.RECIPES, grid.recipe),
        *((plugins.IMAGES, each.name) for each in images),
        *((plugins.DATASETS, text.partition(":")[0]) for text in datasets),
        *((plugins.NETWORKS, family_of(name).plugin.name) for name in networks),
    ]
    found = (plugins.identity(kind, name) for kind, name in dict.fromkeys(named))
    return [identity for identity in found if identity is not None]
