"""`clean`: remove what nothing refers to."""

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UserError

SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def clean(
    work: Annotated[str, typer.Option(help="Folder of stages and records.")] = "runs",
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Also remove what interrupted runs would go on from."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what no record refers to, and say what and how many bytes.

    A stage stays if a record's labels, images or teacher are it, were made from it, or it was
    measured of them; while anything is unfinished, all stages stay. Checkpoints of recorded
    students, half-made stages that were made since, half-written files and lock files go; so do
    decoded pixels in the shared cache whose source is gone. Records, failures, tables and sites
    always stay, and nothing goes that a live run uses.
    """
    from ..core.remote_work import RemoteWork
    from ..experiment.clean import leftovers, remove

    if remote := RemoteWork.at(work):
        raise UserError(
            "Nobody can tell which runs use a URL, so nothing is removed there: `verify` names "
            f"what no record refers to. What {remote.folder} keeps of it stays below "
            "LABELBENCH_CACHE_GB by itself."
        )
    if not Path(work).is_dir():
        raise UserError(f"There is no folder {work!r}: name a work folder with --work.")
    found = leftovers(Path(work), unfinished)
    gone = found if dry_run else remove(found)
    for each in gone:
        if each.bytes:
            typer.echo(f"{_spoken(each.bytes):>8}  {each.path}: {each.why}")
    total = sum(each.bytes for each in gone)
    typer.echo(f"{len(gone)} leftovers, {_spoken(total)}{' would go' if dry_run else ' removed'}")


def _spoken(size: int) -> str:
    for name, unit in SIZES:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
