"""Profiles: where the time of a student's step goes, for each method and student of a grid."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch import nn

from ..core import plugins
from ..core.errors import Interrupted, UserError
from ..core.files import disk_is_full
from ..core.progress import say
from ..labels import student
from ..labels.contract import method
from ..records import speed
from ..records.environment import environment
from ..records.record import as_json
from ..records.speed import MemoryFormat, ProfiledNames, ProfileRecord
from . import fitter, step_parts
from .failures import Failure, describe
from .grid import Cell
from .run_cell import EVALUATORS, Cells
from .stages import Experiment, ResolvedLabels

SEED = 0  # of the student


def run(
    experiment: Experiment, cells: Sequence[Cell], show: Callable[[list[ProfileRecord]], None]
) -> None:
    """Profile each method with each student, whatever the seed, and write `profile.jsonl`.

    Missing stages are made. What an earlier run recorded of the same is replaced.

    Args:
        show: prints what was measured.

    Raises:
        UserError: a name or option is wrong (before anything is made), or some failed.
        Interrupted: by Ctrl-C, or by the system.
    """
    file = experiment.runtime.work / speed.OF_WORK
    made: list[ProfileRecord] = []
    failed: list[str] = []
    try:
        resolved = experiment.resolve([cell for cell in cells if cell.seed == SEED])
        for label, why in {c.variant.label: w for c, w in resolved.left_out.items()}.items():
            say(f"left out: {label}: {why}")
        runner = Cells(experiment)
        torch.set_flush_denormal(True)  # vanishing weights slow a CPU down twentyfold
        for number, (cell, labels) in enumerate(resolved.labels.items(), 1):
            started, name = time.monotonic(), cell.label.removesuffix(f", seed {SEED}")
            found = _profiled(runner, cell, labels)
            if isinstance(found, Failure):
                failed.append(f"{name}: {found.message}")
                told = f"FAILED: {found.message}"
            else:
                speed.replace(file, found)
                made.append(found)
                told = f"{time.monotonic() - started:.1f} s"
            say(f"[{number}/{len(resolved.labels)}] {name}: {told}")
    except KeyboardInterrupt as error:
        fitter.stop()
        raise Interrupted(f"{len(made)} profiles are recorded in {file}.") from error
    if not resolved.labels:
        raise UserError(" ".join(dict.fromkeys(resolved.left_out.values())))
    show(made)
    if failed:
        raise UserError(f"{len(failed)} of {len(resolved.labels)} failed: {' '.join(failed)}")


def _profiled(runner: Cells, cell: Cell, labels: ResolvedLabels) -> ProfileRecord | Failure:
    """The record of one method and student, or what went wrong."""
    experiment = runner.experiment
    if experiment.missing(labels):
        failed = fitter.call(fitter.make_stages, fitter.Given.of(experiment), labels)
        if failed is not None:
            return failed
    try:
        return _measured(runner, cell, labels)
    except Exception as error:
        if disk_is_full(error):
            raise
        return describe(error, plugins.sources_of(plugins.METHODS, cell.variant.method))


def _measured(runner: Cells, cell: Cell, labels: ResolvedLabels) -> ProfileRecord:
    experiment, recipe = runner.experiment, labels.recipe
    folder, fit = experiment.finished(labels)
    source = method(cell.variant.method).load(folder / "artefact", experiment.task(labels, SEED))
    learner = EVALUATORS[recipe.evaluator](cell.student, source, SEED)
    optimisation = student.optimisation(recipe, source)
    parts = step_parts.measure(learner, source, optimisation, experiment.dataset.test)
    names, batch = runner.names(cell), source.task.plan.sizes()[0]
    return ProfileRecord(
        schema=speed.SCHEMA,
        kind="profile",
        cell=ProfiledNames(
            dataset=names["dataset"],
            images=names["images"],
            ipc=names["ipc"],
            method=names["method"],
            student=names["student"],
            recipe=names["recipe"],
            teacher=names["teacher"],
        ),
        precision=source.task.compute.precision,
        memory_format=_memory_format(learner),
        compiled=any(hasattr(part, "_orig_mod") for part in learner.modules()),
        batch=batch,
        options=as_json(asdict(source.options)),
        seconds=parts.seconds,
        seconds_fit=fit.seconds,
        evaluation=parts.evaluation,
        labels=step_parts.label_bytes(source, batch),
        copies=parts.copies,
        memory=parts.memory,
        world=runner.world,
        environment=environment(),
    )


def _memory_format(network: nn.Module) -> MemoryFormat:
    """In which order the weights of convolutions lie."""
    last = torch.channels_last
    weights = [p for p in network.parameters() if p.ndim == 4 and not p.is_contiguous()]
    laid = weights and all(p.is_contiguous(memory_format=last) for p in weights)
    return "channels last" if laid else "contiguous"
