"""Running a grid: what is cached, what is missing, what it will take; then cell after cell."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch

from ..core import ranks
from ..core.bounded_cache import held
from ..core.errors import Interrupted, UserError
from ..core.files import digest
from ..core.progress import say, stage
from ..labels.contract import method
from ..models.image_source import image_source
from ..records import store
from ..records.comparison import Comparison, comparisons
from ..records.record import Record
from . import fitter, on_ranks
from .estimate import Estimator, said
from .failures import Failed, Failure
from .grid import Cell
from .groups import grouped
from .memory import Peaks, disk_told, memory_told, resident
from .plan import Plan, Planned
from .run_cell import LOCKS, RECORDS, RUN, Cells, ResolvedCell
from .stages import Experiment, ResolvedLabels
from .tally import Tally
from .traced import import_bytes
from .within import measure_within

MOST_OF_A_START = 10.0  # seconds; a process that took more has done other work before


@dataclass(frozen=True)
class Ran:
    """What became of a grid's cells.

    Attributes:
        cells: all that can be run.
        missing: those of them without a record; of a dry run, those that would be measured.
        failed: those that were tried in vain.
        left_out: variants that cannot meet their byte budget, and why.
        records: of the others.
        plan: of a dry run, what would be made.
        comparisons: of the records, with what is missing or failed among them.
    """

    cells: list[Cell]
    missing: list[Cell]
    failed: Failed
    left_out: dict[str, str]
    records: list[Record]
    comparisons: list[Comparison]
    plan: list[Planned] = field(default_factory=list)


def run(
    experiment: Experiment,
    cells: Sequence[Cell],
    dry_run: bool,
    execute: Callable[[Cells, list[ResolvedCell]], Failed] | None = None,
    within: float | None = None,
    notes: Sequence[str] = (),
) -> Ran:
    """Measure all missing cells, and read what all of them say.

    Args:
        execute: measures cells elsewhere than in this process, as `measure` does here.
        within: seconds; cells that do not fit are left out.
        notes: lines about the grid, said once nothing in it is wrong.

    Raises:
        UserError: a name or option is wrong; nothing was made yet.
        Interrupted: by Ctrl-C, or by the system.
    """
    found: list[ResolvedCell] = []
    started = time.monotonic()
    try:
        here = execute is None or experiment.runtime.jobs > 1
        if here and not dry_run and not (experiment.runtime.work / RECORDS).exists():
            fitter.start()  # there will be work for it: it starts while cells are resolved
        with stage("start", "read dataset and options", aloud=False):
            resolved = experiment.resolve(cells, fetch=not dry_run)
        if resolved.left_out and not any(cell.variant.budget for cell in resolved.labels):
            raise UserError(" ".join(dict.fromkeys(resolved.left_out.values())))
        for line in notes:
            say(line)
        left_out = {c.variant.label: w for c, w in resolved.left_out.items()}
        for label, why in left_out.items():
            say(f"left out: {label}: {why}")
        runner = Cells(experiment)
        found += [runner.resolve(cell, labels) for cell, labels in resolved.labels.items()]
        missing = [cell for cell in found if experiment.runtime.force or not cell.done]
        if ranks.count() > 1:
            on_ranks.check(missing)
        start = min(time.process_time(), MOST_OF_A_START)
        estimator = Estimator(runner, not dry_run, start)
        with stage("start", "time a few steps", aloud=False):
            _foretell(estimator, found, missing, dry_run)
        if dry_run:
            plan = Plan(estimator, found, missing).stages()
            return replace(_read(runner, found, missing, {}, left_out), plan=plan)
        until = None if within is None else started + within
        waiting = [cell.cell for cell in missing]
        runner.tally = Tally.of(waiting, estimator.left_of(missing), until)
        work = partial(execute or measure, runner)
        with held(experiment.runtime.work / LOCKS / RUN), runner.tally.shown():
            if until is None:
                failed = work(missing)
            else:
                failed = measure_within(estimator, missing, until, work)
    except KeyboardInterrupt as error:
        fitter.stop()
        raise Interrupted(_kept(experiment, found)) from error
    return _read(runner, found, [cell for cell in found if not cell.done], failed, left_out)


def _kept(experiment: Experiment, found: list[ResolvedCell]) -> str:
    """What an interrupted run leaves, in words."""
    if not found:
        return "nothing was begun yet."
    count = sum(cell.done for cell in found)
    return (
        f"{count} of {len(found)} cells are recorded in {experiment.runtime.place}/{RECORDS}. "
        "Finished stages and checkpoints are kept: run the same command again to go on."
    )


def _foretell(
    estimator: Estimator, found: list[ResolvedCell], missing: list[ResolvedCell], dry_run: bool
) -> None:
    """Say what is there, what is missing and what it takes; with `dry_run`, of each cell."""
    experiment = estimator.experiment
    say(f"{len(found)} cells: {len(found) - len(missing)} cached, {len(missing)} to run")
    damaged = [cell.record for cell in missing if cell.record.exists() and not cell.done]
    again = "it is measured again"
    store.say_some(f"{file.name} is damaged ({store.damage(file)}): {again}" for file in damaged)
    if missing:
        device = experiment.runtime.compute.device.type
        for line in said(estimator.of(missing), device, timed=not dry_run):
            say(line)
    for line in dict.fromkeys(filter(None, (bought(experiment, cell.labels) for cell in found))):
        say(line)
    if dry_run:
        own, on_cpu = resident(), experiment.runtime.compute.device.type == "cpu"
        peaks = Peaks(experiment)
        found_peaks = peaks.of(missing)
        own += import_bytes(peaks.footprint.unbuilt)
        told = memory_told(found_peaks, on_cpu, own)
        for line in (*experiment.pixels_told(), *disk_told(experiment, missing), *told):
            say(line)


def _read(
    runner: Cells,
    found: list[ResolvedCell],
    missing: list[ResolvedCell],
    failed: Failed,
    left_out: dict[str, str],
) -> Ran:
    """All records of these cells side by side, and what is missing or failed among them."""
    lacking = [cell.cell for cell in found if not cell.done]
    records = store.read([cell.record for cell in found if cell.done])
    compared = comparisons(
        records,
        missing=[runner.names(cell) for cell in lacking],
        failed=[runner.names(cell) for cell in lacking if cell in failed],
    )
    cells = [cell.cell for cell in found]
    return Ran(cells, [cell.cell for cell in missing], failed, left_out, records, compared)


def bought(experiment: Experiment, labels: ResolvedLabels) -> str:
    """What a method chose to meet its byte budget; empty without one."""
    if labels.budget is None:
        return ""
    plain = asdict(experiment.asked(labels.variant))
    chosen = [f"{n}={v}" for n, v in asdict(labels.options).items() if v != plain[n]]
    where = f"{labels.variant.label} at IPC {labels.images.ipc}"
    return f"{where} chose {', '.join(chosen) or 'its defaults'}"


def measure(
    runner: Cells,
    missing: Sequence[ResolvedCell],
    report: Callable[[Cell, str], None] | None = None,
) -> Failed:
    """Measure cells, those that share their labels at once; returns those that failed.

    The others go on. A cell that another run is at work on is left for later.

    Args:
        report: is told of each cell how long it took, or why it failed; by default the user is.
    """
    torch.set_flush_denormal(True)  # vanishing weights slow a CPU down twentyfold
    if ranks.count() > 1 and any(runner.experiment.missing(cell.labels) for cell in missing):
        on_ranks.make_teacher(runner.experiment)
    failed = prepare(runner.experiment, missing)
    runner.tally.drop(failed)
    waiting, wait = [cell for cell in missing if cell.cell not in failed], False
    while waiting:
        busy = []
        for group in grouped(waiting, runner.experiment.runtime.share):
            started = time.monotonic()
            ended = runner.run(group, wait)
            seconds = time.monotonic() - started
            busy += [cell for cell in group if cell.cell not in ended]
            for cell in (each.cell for each in group if each.cell in ended):
                failure = ended[cell]
                if failure is not None:
                    failed[cell] = failure
                (report or runner.tally.tell)(cell, _took(seconds, len(ended), failure))
        waiting, wait = busy, True
    return failed


Told = tuple[Cell, str]


def _took(seconds: float, cells: int, failure: Failure | None) -> str:
    if failure is not None:
        return f"FAILED: {failure.message}"
    if cells == 1:
        return f"{seconds:.1f} s"
    return f"{seconds / cells:.1f} s ({cells} students in {seconds:.1f} s)"


def prepare(experiment: Experiment, missing: Sequence[ResolvedCell]) -> Failed:
    """With `--batched N`, let methods `prepare` artefacts that differ only in their images' draw.

    Returns:
        The cells of those that failed.
    """
    most, failed = experiment.runtime.batched, {}
    for alike in _alike(experiment, missing) if most > 1 else ():
        for start in range(0, len(alike), most):
            chunk = alike[start : start + most]
            if len(chunk) == 1:  # `fit` does it
                continue
            labels = [cells[0].labels for cells in chunk]
            wrong = fitter.call(fitter.prepare, fitter.Given.of(experiment), labels)
            if wrong is not None:
                name = labels[0].variant.label
                say(f"failed: {name} of {len(chunk)} base sets: {wrong.message}")
                failed |= {cell.cell: wrong for cells in chunk for cell in cells}
    return failed


def _alike(
    experiment: Experiment, missing: Sequence[ResolvedCell]
) -> list[list[list[ResolvedCell]]]:
    """Cells whose artefact is missing: by what is alike but the draw, then by artefact."""
    groups: dict[str, dict[str, list[ResolvedCell]]] = defaultdict(lambda: defaultdict(list))
    for cell in missing:
        labels = cell.labels
        if method(labels.variant.method).prepares and not experiment.cache.done(
            "labels", labels.key
        ):
            draws = image_source(labels.images.name).draws
            drawn = {n: v for n, v in labels.images.key["options"].items() if n != draws}
            images = {**labels.images.key, "options": drawn}
            groups[digest({**labels.key, "images": images})][labels.digest].append(cell)
    return [list(group.values()) for group in groups.values()]
