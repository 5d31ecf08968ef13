"""`reference`: what the field has published, and ours beside it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from . import within
from .options import Device, takes
from .run import Surroundings, grid_of, measure
from .tables import Records


@dataclass(frozen=True)
class Asked:
    """What of the ledger is asked for."""

    records: Records = None
    within: Annotated[
        str | None,
        typer.Option(help="Measure what is owed and fits into so long on one core: 30m, 2h."),
    ] = None
    work: Annotated[Path, typer.Option(file_okay=False, help="Folder of stages and records.")] = (
        Path("runs")
    )
    data_root: Annotated[
        Path | None, typer.Option(envvar="LABELBENCH_DATA", help="Where real datasets lie.")
    ] = None
    device: Device = "auto"


@takes(Asked)
def reference(asked: Asked) -> None:
    """Set published figures beside ours: met, differs, or owed; with --within, measure some first.

    Sizes need no data. Accuracies are read from records; what is owed names its command.
    """
    from ..report.reference import as_markdown, ledger

    if asked.within is not None:
        _measure(asked)
    print(as_markdown(ledger(_records(asked))))


def _records(asked: Asked) -> list[Any]:
    from ..experiment.run_cell import RECORDS
    from ..records.store import read

    places = asked.records or [Path("results")]
    made = asked.work / RECORDS
    places = [*places, *([made] if asked.within and made.is_dir() else [])]
    return read([place for place in places if place.exists() or asked.records])


def _measure(asked: Asked) -> None:
    from ..core.device import choose
    from ..core.progress import say
    from ..experiment.reference import accuracies
    from ..report.reference import of_cell

    seconds = within.seconds(asked.within or "")
    known, gpu = _records(asked), choose(asked.device, "auto").device.type == "cuda"
    until = time.monotonic() + seconds
    for cell in accuracies():
        if of_cell(cell, known):
            continue
        left = (until - time.monotonic()) / 60
        if refused := _refused(cell.minutes, left, gpu):
            say(f"left out: {cell.name}: {refused}")
            continue
        say(f"measuring {cell.name}")
        words = dict(zip(cell.run[::2], cell.run[1::2], strict=False))
        values = {
            name.removeprefix("--"): text
            for name, text in words.items()
            if name not in ("--config", "--no-controls")
        }
        grid = grid_of(_given(values, "--no-controls" in cell.run), Path(words["--config"]))
        at = Surroundings(data_root=asked.data_root, work=asked.work, device=asked.device)
        measure(grid, at)


def _refused(minutes: float, left: float, gpu: bool) -> str:
    """Why a cell of so many minutes of one core (0: of a GPU) is not measured; empty if it is."""
    if not minutes and not gpu:
        return "wants a GPU"
    if left <= 0 or (minutes > left and not gpu):
        return f"takes about {minutes:g} min of one core, and {max(left, 0):.0f} are left"
    return ""


def _given(values: dict[str, str], plain: bool) -> dict[str, object]:
    """Options in text as the command line gives them."""
    from ..core.command import options_of
    from ..experiment.grid import Grid

    by_name = {option.name: (name, option) for name, option in options_of(Grid).items()}
    given: dict[str, object] = {"controls": False} if plain else {}
    for name, text in values.items():
        field, option = by_name[name]
        given[field] = option.parse(text)
    return given
