"""`verify`, `collect` and `ship`: records that are published, and labels that are given away."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..api.records import ship as copy
from ..core.errors import UserError


def verify(
    paths: Annotated[list[Path], typer.Argument(help="Record files and folders.")],
) -> None:
    """Check records before they are published: each whole, rows and controls complete."""
    report = _verified(paths)
    if report.problems:
        typer.echo(f"{report.count} records: {len(report.problems)} problems")
        raise typer.Exit(1)
    typer.echo(f"{report.count} records: complete")


def collect(
    paths: Annotated[list[Path], typer.Argument(metavar="RECORDS", help="Files and folders.")],
    to: Annotated[Path, typer.Option(help="results/NAME.jsonl; made, or added to.")],
) -> None:
    """Add the records of runs, of several machines too, to a collection that can be published.

    They are verified first. One that the collection already holds is passed over; nothing is
    written if any record is wrong, or differs from the one of its key and world there.
    Into results/speed.jsonl go the speed records of `profile`.
    """
    from ..records import speed
    from ..records.collection import collect as gather

    if to.name == speed.PUBLISHED:
        added, count = speed.collect(paths, to)
        typer.echo(f"{to}: {added} speed records added, {count} in all")
        return
    report = _verified(paths)
    if report.problems:
        raise UserError(f"Nothing was collected: {len(report.problems)} problems.")
    added, count = gather(paths, to)
    typer.echo(f"{to}: {added} records added, {count} in all")


def ship(
    record: Annotated[Path, typer.Argument(help="A record of this work folder.")],
    to: Annotated[Path, typer.Argument(help="A new folder for `labels/` and `images/`.")],
    work: Annotated[Path, typer.Option(help="Folder of stages.")] = Path("runs"),
) -> None:
    """Copy a record's artefact and images into a folder that can be given away."""
    labels, images = copy(record, to, work)
    typer.echo(f"wrote {labels} and {images}")


def _verified(paths: list[Path]) -> Any:
    """The report on these records, shown."""
    from ..report.verify import verify_records

    report = verify_records(paths)
    for line in report.warnings:
        typer.echo(f"warning: {line}")
    for line in report.problems:
        typer.echo(f"problem: {line}")
    return report
