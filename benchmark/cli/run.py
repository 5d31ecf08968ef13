"""`run`: measure a grid of cells, and show what it came to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..core.errors import UserError, unknown
from ..experiment import grid as grids
from ..experiment.grid import Cell, Grid
from . import within
from .options import Device, takes
from .plugins import Plugins

if TYPE_CHECKING:
    from ..core.device import Compute


@dataclass(frozen=True)
class Place:
    """What a grid is read from, and where its stages are made and measured.

    Attributes: as their help texts say.
    """

    config: Annotated[
        Path | None, typer.Option(help="A TOML grid, or the name of a shipped one (see list).")
    ] = None
    plugin: Plugins = None
    data_root: Annotated[
        Path | None, typer.Option(envvar="LABELBENCH_DATA", help="Where real datasets lie.")
    ] = None
    download: Annotated[
        bool, typer.Option("--download", help="Let torchvision fetch into the data root.")
    ] = False
    work: Annotated[
        Path, typer.Option(file_okay=False, help="Folder of stages, records and tables.")
    ] = Path("runs")
    device: Device = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="auto: bf16 where the hardware computes in it."),
    ] = "auto"


@dataclass(frozen=True)
class Surroundings(Place):
    """Where and how a grid is run; nothing here changes what is measured but device and precision.

    Attributes: as their help texts say.
    """

    shard: Annotated[
        str | None, typer.Option(help="I/N: only every N-th cell from the I-th (from 0).")
    ] = None
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="ray needs labelbench\\[ray].")
    ] = "local"
    jobs: Annotated[
        str,
        typer.Option(help="Processes side by side; auto: one a thread on a CPU, one on a GPU."),
    ] = "auto"
    share_stream: Annotated[
        Literal["auto", "off"],
        typer.Option(help="off: every student renders and labels its views for itself."),
    ] = "auto"
    batched: Annotated[
        int,
        typer.Option(
            min=1,
            help="Base sets whose labels are learned side by side, where memory allows (a GPU's).",
        ),
    ] = 1
    force: Annotated[bool, typer.Option("--force", help="Measure finished cells anew.")] = False
    within: Annotated[
        str | None,
        typer.Option(help="Measure what fits into so long, controls first: 30m, 2h, 1d."),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is cached and missing; write nothing.")
    ] = False


@takes(Grid, Surroundings)
def run(asked: dict[str, Any], at: Surroundings) -> None:
    """Train students on each method's labels, record what they reach, print the tables.

    Without --config and --dataset, runs the quick start: real 8x8 digits, in about a minute or
    two on a laptop.
    """
    from ..core import plugins

    for path in at.plugin or ():
        plugins.add(path)
    measure(grid_of(asked, at.config), at)


def measure(grid: Grid, at: Surroundings) -> None:
    """Measure a grid's cells, and print and write their tables.

    Raises:
        UserError: see `run_grid.run`.
    """
    from ..core import plugins

    cells = list(grids.cells(grid))
    known = plugins.found(plugins.METHODS)
    for cell in cells:
        if cell.variant.method not in known:
            raise unknown("method", cell.variant.method, known)
    chosen = _shard(cells, at.shard)
    limit = None if at.within is None else within.seconds(at.within)

    import torch

    from ..core.device import choose
    from ..experiment import run_grid
    from ..experiment.dataset_and_teacher import Runtime
    from ..experiment.stages import Experiment

    compute, threads = choose(at.device, at.precision), torch.get_num_threads()
    jobs, execute = _executor(at, compute, len(chosen))
    share = at.share_stream == "auto"
    runtime = Runtime(
        at.work, compute, at.data_root, at.download, at.force, at.batched, share, jobs, at.dry_run
    )
    try:
        run_grid.run(
            Experiment(grid, runtime),
            chosen,
            at.dry_run,
            lambda made: show_tables(made, at.work),
            execute,
            limit,
        )
    finally:
        torch.set_num_threads(threads)


def grid_of(asked: dict[str, Any], config: Path | None) -> Grid:
    """The grid of the config, or the quick start, with what was asked for in its place."""
    values: dict[str, Any] = {}
    if config is not None:
        values = grids.read_config(config)
    elif "dataset" not in asked:
        values = grids.read_config(Path("quick"))
    options = {**values.get("set", {}), **asked.get("set", {})}
    return grids.make_grid({**values, **asked, "set": options})


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
    return execute


def _shard(cells: list[Cell], shard: str | None) -> list[Cell]:
    if shard is None:
        return cells
    number, _, count = shard.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise UserError(f"--shard takes I/N with 0 <= I < N, got {shard!r}.")
    return cells[int(number) :: int(count)]


def show_tables(made: list[Any], work: Path) -> None:
    """Print and write the tables of a run, and their site."""
    from ..core.progress import say
    from ..experiment.run_cell import RECORDS
    from ..records import measurements
    from ..report.leaderboard import tables
    from ..report.site import write_site
    from ..report.tables import write_tables

    for table in tables(made):
        print(table.text())
    say(f"records: {work / RECORDS}, tables: {write_tables(made, work / 'tables')[0]}")
    say(f"site: {write_site(made, work / 'site', timed=measurements.read([work]))}")
