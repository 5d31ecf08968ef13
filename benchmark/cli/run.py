"""`run`: measure a grid of cells, and show what it came to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..core.errors import UserError, unknown
from ..experiment import grid as grids
from ..experiment.grid import Cell, Grid
from .options import Device, takes
from .plugins import Plugins


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
    batched: Annotated[
        int,
        typer.Option(
            min=1,
            help="Base sets whose labels are learned side by side, where memory allows (a GPU's).",
        ),
    ] = 1
    force: Annotated[bool, typer.Option("--force", help="Measure finished cells anew.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is cached and missing, and stop.")
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

    from ..core.device import choose
    from ..experiment import run_grid
    from ..experiment.dataset_and_teacher import Runtime
    from ..experiment.stages import Experiment

    compute = choose(at.device, at.precision)
    runtime = Runtime(at.work, compute, at.data_root, at.download, at.force, at.batched)
    run_grid.run(
        Experiment(grid, runtime),
        chosen,
        at.dry_run,
        lambda made: show_tables(made, at.work),
        _executor(at),
    )


def grid_of(asked: dict[str, Any], config: Path | None) -> Grid:
    """The grid of the config, or the quick start, with what was asked for in its place."""
    values: dict[str, Any] = {}
    if config is not None:
        values = grids.read_config(config)
    elif "dataset" not in asked:
        values = grids.read_config(Path("quick"))
    options = {**values.get("set", {}), **asked.get("set", {})}
    return grids.make_grid({**values, **asked, "set": options})


def _executor(at: Surroundings) -> Callable[..., Any] | None:
    """What measures cells elsewhere than in this process; None for this one."""
    if at.executor == "local":
        return None
    if ":" in at.device:
        raise UserError(
            f"--executor ray deals out GPUs itself: take --device cuda, not {at.device}."
        )
    if at.batched > 1:
        raise UserError(
            "--batched learns labels in one process, which --executor ray has many of: leave out "
            f"--batched {at.batched}, or the executor."
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
    from ..records import speed
    from ..report.leaderboard import tables
    from ..report.site import write_site
    from ..report.tables import write_tables

    for table in tables(made):
        print(table.text())
    say(f"records: {work / RECORDS}, tables: {write_tables(made, work / 'tables')[0]}")
    say(f"site: {write_site(made, work / 'site', timed=speed.read([work]))}")
