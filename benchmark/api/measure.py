"""Measuring a grid: what the command line and Python both do of `run`'s words."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import progress
from ..core.errors import Interrupted, UserError, unknown
from ..core.imports import heavy
from ..core.remote_work import RemoteWork
from ..experiment import grid as grids
from ..experiment.grid import Cell, Grid
from ..experiment.shard import shards
from . import within
from .results import FailedCell, Results
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..core.device import Compute
    from ..experiment.run_grid import Ran


def measured(asked: Mapping[str, Any], at: Surroundings) -> Results:
    """Measure what was asked for, of the config or the quick start; plugins are added first.

    Args:
        asked: fields of a `Grid`, as the command line gives them.

    Raises:
        UserError: see `measure`.
    """
    from ..core import plugins

    for path in at.plugin or ():
        plugins.add(path)
    grid = grid_of(asked, at.config)
    return measure(grid, at, set_for_nothing(grid, asked))


def measure(grid: Grid, at: Surroundings, notes: Sequence[str] = ()) -> Results:
    """Measure a grid's cells. What fails is among the results.

    Args:
        notes: lines about the grid, said once nothing in it is wrong.

    Raises:
        UserError: a name, an option or a value is wrong; nothing was made yet.
        Interrupted: by Ctrl-C, or by the system.
    """
    chosen = _cells(grid, at.shard)
    remote = RemoteWork.at(at.work)
    limit = None if at.within is None else within.seconds(at.within)
    try:
        with progress.stage("start", "load torch", aloud=False), heavy("torch"):
            import torch

            from ..core import ranks
            from ..core.device import choose
            from ..experiment import on_ranks, run_cell, run_grid
            from ..experiment.dataset_and_teacher import Runtime
            from ..experiment.stages import Experiment
    except KeyboardInterrupt as error:
        raise Interrupted("nothing was begun.") from error

    several = ranks.launched()
    device = on_ranks.device_here(at.device) if several else at.device
    compute, threads = choose(device, at.precision), torch.get_num_threads()
    if several:
        _check_joint(at)
        ranks.join(compute.device)
    jobs, execute = (1, None) if several else _executor(at, compute, len(chosen))
    runtime = Runtime(
        at.folder,
        compute,
        at.data_root,
        at.download,
        at.force,
        at.batched,
        at.share_stream == "auto",
        jobs,
        at.dry_run,
        remote.url if remote else "",
    )
    experiment = Experiment(grid, runtime)
    if not ranks.leads():
        return on_ranks.follow(experiment)
    try:
        if remote:
            remote.open(run_cell.RECORDS, write=not at.dry_run)
        ran = run_grid.run(experiment, chosen, at.dry_run, execute, limit, notes)
        results = _results(ran, remote.unsaved() if remote and not at.dry_run else "")
    except UserError:
        on_ranks.dismiss(None)
        raise
    finally:
        torch.set_num_threads(threads)
    on_ranks.dismiss(results)
    return results


def _results(ran: "Ran", unsaved: str) -> Results:
    failures = [
        FailedCell(cell.label, failure.message, failure.traceback)
        for cell, failure in ran.failed.items()
    ]
    return Results(
        ran.records,
        ran.comparisons,
        failures,
        cells=[cell.label for cell in ran.cells],
        missing=[cell.label for cell in ran.missing],
        left_out=ran.left_out,
        unsaved=unsaved,
        plan=ran.plan,
    )


def _check_joint(at: Surroundings) -> None:
    """Refuse, of several processes that torchrun started, what each is to start by itself."""
    asked = {"--executor ray": at.executor == "ray", f"--jobs {at.jobs}": at.jobs != "auto"}
    for words in (words for words, given in asked.items() if given):
        raise UserError(
            f"Under torchrun all processes train one student together: leave out {words}."
        )


def grid_of(asked: Mapping[str, Any], config: Path | None) -> Grid:
    """The grid of the config, or the quick start, with what was asked for in its place."""
    values: dict[str, Any] = {}
    if config is not None:
        values = grids.read_config(config)
    elif "dataset" not in asked:
        values = grids.read_config(Path("quick"))
    options = {**values.get("set", {}), **asked.get("set", {})}
    return grids.make_grid({**values, **asked, "set": options})


def set_for_nothing(grid: Grid, asked: Mapping[str, Any]) -> list[str]:
    """Options that were asked for and that nothing in the grid has, told in a line, if any."""
    unused = grids.set_for_nothing(grid, asked.get("set", {}))
    return [f"set for nothing in this grid: {', '.join(unused)}"] if unused else []


def _executor(
    at: Surroundings, compute: "Compute", cells: int
) -> tuple[int, Callable[..., Any] | None]:
    """How many jobs there are, and what measures cells elsewhere than in this process, if so.

    This process, and with it each job, has its share of the threads from here on.
    """
    import torch

    from ..experiment import jobs

    if at.executor == "ray":
        return 1, _ray(at)
    if at.address is not None:
        raise UserError(f"--address {at.address} is a Ray cluster's: add --executor ray.")
    count = jobs.number_of(at.jobs, compute, cells)
    if count == 1:
        return 1, None
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // count))
    return count, jobs.execute(count, threads)


def _ray(at: Surroundings) -> Callable[..., Any]:
    if ":" in at.device:
        raise UserError(
            f"--executor ray deals out GPUs itself: take --device cuda, not {at.device}."
        )
    for name, asked in (("batched", at.batched > 1), ("jobs", at.jobs not in ("auto", "1"))):
        if asked:
            raise UserError(
                f"--{name} is for one process, or for those of one machine, and --executor ray has "
                f"its own: leave out --{name} {getattr(at, name)}, or the executor."
            )
    try:
        from ..experiment.on_ray import execute
    except ModuleNotFoundError as error:
        raise UserError(
            f"--executor ray needs ray ({error}): pip install 'labelbench[ray]'."
        ) from error
    return partial(execute, address=at.address)


def _cells(grid: Grid, shard: str | None) -> list[Cell]:
    """Those of a grid that are asked for."""
    from ..core import plugins

    cells = list(grids.cells(grid))
    known = plugins.found(plugins.METHODS)
    for cell in cells:
        if cell.variant.method not in known:
            raise unknown("method", cell.variant.method, known)
    if shard is None:
        return cells
    number, _, count = shard.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise UserError(f"--shard takes I/N with 0 <= I < N, got {shard!r}.")
    return shards(cells, int(count))[int(number)]
