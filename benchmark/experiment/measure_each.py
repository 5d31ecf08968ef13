"""What is measured once of each method and student of a grid, and trains no student."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from ..core import plugins, ranks
from ..core.errors import Interrupted, UserError
from ..core.files import disk_is_full
from ..core.progress import say, stage
from ..records import measurements
from ..records.measurements import Measurement
from ..records.speed import MeasuredNames
from . import fitter
from .failures import Failure, describe
from .grid import Cell
from .run_cell import Cells
from .stages import Experiment, ResolvedLabels

SEED = 0  # of the student

Measure: TypeAlias = Callable[[Cells, Cell, ResolvedLabels], Any]


def measure_each(
    experiment: Experiment,
    cells: Sequence[Cell],
    measure: Measure,
    file: Path,
    show: Callable[[list[Measurement]], None],
) -> None:
    """Measure each method with each student, whatever the seed, and write the records.

    Missing stages are made. What an earlier run recorded of the same is replaced.

    Args:
        measure: gives a record of a cell whose labels are made.
        file: of the records, in the work folder.
        show: prints what was measured.

    Raises:
        UserError: a name or option is wrong (before anything is made), or some failed.
        Interrupted: by Ctrl-C, or by the system.
    """
    if ranks.launched():
        raise UserError("Only `run` is for several processes: give this command without torchrun.")
    made: list[Measurement] = []
    failed: list[str] = []
    try:
        with stage("start", "read dataset and options", aloud=False):
            resolved = experiment.resolve([cell for cell in cells if cell.seed == SEED])
        for label, why in {c.variant.label: w for c, w in resolved.left_out.items()}.items():
            say(f"left out: {label}: {why}")
        runner = Cells(experiment)
        torch.set_flush_denormal(True)  # vanishing weights slow a CPU down twentyfold
        for number, (cell, labels) in enumerate(resolved.labels.items(), 1):
            started, name = time.monotonic(), cell.label.removesuffix(f", seed {SEED}")
            with stage("measure", name, aloud=False):
                found = _measured(runner, cell, labels, measure)
            if isinstance(found, Failure):
                failed.append(f"{name}: {found.message}")
                told = f"FAILED: {found.message}"
            else:
                measurements.replace(file, found)
                made.append(found)
                told = f"{time.monotonic() - started:.1f} s"
            say(f"[{number}/{len(resolved.labels)}] {name}: {told}")
    except KeyboardInterrupt as error:
        fitter.stop()
        raise Interrupted(f"{len(made)} records are in {file}.") from error
    if not resolved.labels:
        raise UserError(" ".join(dict.fromkeys(resolved.left_out.values())))
    show(made)
    if failed:
        raise UserError(f"{len(failed)} of {len(resolved.labels)} failed: {' '.join(failed)}")


def names(runner: Cells, cell: Cell) -> MeasuredNames:
    """A cell as tables name it, without its seed."""
    known = runner.names(cell)
    return MeasuredNames(
        dataset=known["dataset"],
        images=known["images"],
        ipc=known["ipc"],
        method=known["method"],
        student=known["student"],
        recipe=known["recipe"],
        teacher=known["teacher"],
    )


def _measured(
    runner: Cells, cell: Cell, labels: ResolvedLabels, measure: Measure
) -> Measurement | Failure:
    """The record of one method and student, or what went wrong."""
    experiment = runner.experiment
    if experiment.missing(labels):
        failed = fitter.call(fitter.make_stages, fitter.Given.of(experiment), labels)
        if failed is not None:
            return failed
    try:
        return measure(runner, cell, labels)
    except Exception as error:
        if disk_is_full(error):
            raise
        return describe(error, plugins.sources_of(plugins.METHODS, cell.variant.method))
