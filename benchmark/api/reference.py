"""`reference`: what the field has published, and ours beside it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.arguments import typed
from ..core.remote_work import RemoteWork
from . import within as times
from .measure import grid_of, measure
from .results import PUBLISHED
from .surroundings import DATA_ROOT, Surroundings

if TYPE_CHECKING:
    from ..records.record import Record
    from ..report.reference import Line


@typed
def reference(
    records: Sequence[str | Path] | str | Path = (),
    within: str | None = None,
    work: str | Path = "runs",
    data_root: str | Path | None = None,
    device: str = "auto",
) -> "list[Line]":
    """Published figures beside ours, each met, differing or owed; `pandas.DataFrame` takes them.

    Sizes need no data. Accuracies are read from records; what is owed names its command.

    Args:
        records: files and folders; `results` if none.
        within: how long to measure what is owed first, `30m` or `2h` of one core; the other words
            are those of `run`.

    Raises:
        UserError: a path does not exist, or `within` is no time.
    """
    from ..report.reference import ledger

    given = [records] if isinstance(records, str | Path) else records
    paths, made = [Path(path) for path in given], str(work)
    if within is not None:
        root = data_root or os.environ.get(DATA_ROOT)
        at = Surroundings(data_root=Path(root) if root else None, work=made, device=device)
        _measure(times.seconds(within), _records(paths, made), at)
    return ledger(_records(paths, None if within is None else made))


def _records(paths: Sequence[Path], work: str | None) -> "list[Record]":
    from ..experiment.run_cell import RECORDS
    from ..records.store import read

    places = [*(paths or [PUBLISHED])]
    if work is not None:
        remote = RemoteWork.at(work)
        if remote:
            remote.open(RECORDS, write=False)
        folder = (remote.folder if remote else Path(work)) / RECORDS
        places += [folder] if folder.is_dir() else []
    return read([place for place in places if place.exists() or paths])


def _measure(seconds: float, known: "list[Record]", at: Surroundings) -> None:
    """Measure what is owed and fits, in the ledger's order."""
    from ..core.device import choose
    from ..core.progress import say
    from ..experiment.reference import accuracies
    from ..report.reference import of_cell

    gpu = choose(at.device, "auto").device.type == "cuda"
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
