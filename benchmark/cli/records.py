"""`verify`, `collect`, `ship`, `pull`: records that are published, labels that are given away."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..api.records import repository_of
from ..api.records import ship as give
from ..core.errors import UserError
from .options import folder_here
from .showing import Json, show_json
from .tables import record_path

if TYPE_CHECKING:
    from ..report.verify import Report

Private = Annotated[
    bool, typer.Option("--private", help="A repository that is made is for you alone to see.")
]


def verify(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACES",
            help="Records, work folders, shipped folders; files, folders, URLs, hf:OWNER/NAME.",
        ),
    ],
    json: Json = False,
) -> None:
    """Check records, and hash again what they were measured with.

    Records are checked before they are published: each whole, rows and controls complete. Of a work
    folder every stage is hashed again and held to its seal, of a shipped folder labels and images;
    what is missing, changed or orphaned is named. Exits with 1 if there are problems; what is
    orphaned is none.
    """
    from ..report.verify_folders import verify_places

    report, hashed = verify_places(places)
    if json:
        show_json({**asdict(report), **asdict(hashed)})
        raise typer.Exit(bool(report.problems))
    _show(report)
    if hashed.counts:
        typer.echo(hashed.table())
    if report.problems:
        typer.echo(f"{report.count} records: {len(report.problems)} problems")
        raise typer.Exit(1)
    typer.echo(f"{report.count} records: complete")


def collect(
    paths: Annotated[
        list[Path],
        typer.Argument(
            parser=record_path, metavar="RECORDS", help="Files, folders, URLs, hf:OWNER/NAME."
        ),
    ],
    to: Annotated[
        str | None, typer.Option(help="results/NAME.jsonl, or a URL; made, or added to.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME", help="A dataset repository of the Hub; made, or added to."
        ),
    ] = None,
    private: Private = False,
) -> None:
    """Add the records of runs, of several machines too, to a collection that can be published.

    They are verified first. One that the collection already holds is passed over; nothing is
    written if any record is wrong, or differs from the one of its key and world there.
    Into results/speed.jsonl go the records of `profile`, into results/distortion.jsonl those of
    `distortion`.
    """
    from ..records import hub, measurements

    if to is None and push is None:
        raise UserError("collect takes --to FILE.jsonl, --push OWNER/NAME, or both.")
    repository = repository_of(push or "", private, to)
    if to is not None and Path(to).name in measurements.COLLECTIONS:
        if repository:
            raise UserError("Measurements are collected into files alone, without --push.")
        _collect(measurements.collect, paths, to, "measurements")
        return
    report = _verified(paths)
    if report.problems:
        raise UserError(f"Nothing was collected: {len(report.problems)} problems.")
    if to is not None:
        from ..records.collection import collect as gather

        _collect(gather, paths, to, "records")
    if repository:
        added, count = hub.push(paths, repository, private)
        typer.echo(f"hf:{repository.name}: {added} records added, {count} in all")


def ship(
    record: Annotated[str, typer.Argument(help="A record of this work folder, or its URL there.")],
    to: Annotated[
        str | None,
        typer.Argument(help="A new folder for `labels/`, `images/` and a card, or a URL of one."),
    ] = None,
    work: Annotated[
        str | None,
        typer.Option(help="Folder of stages, or a URL of one.", show_default="the record's own"),
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="As the Hub names it: cc-by-4.0, mit, ...")
    ] = "unknown",
    push: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME[:CONFIG]",
            help="A dataset repository of the Hub, made if it is not there; one that holds the "
            "same images gets the labels as a configuration, called after the method by itself.",
        ),
    ] = None,
    private: Private = False,
) -> None:
    """Copy a record's labels and images into a folder that can be given away, with its card."""
    for line in give(record, to, work, license_, push or "", private):
        typer.echo(line)


def pull(
    place: Annotated[
        str, typer.Argument(help="OWNER/NAME[:CONFIG] of the Hub, or the URL of a shipped folder.")
    ],
    to: Annotated[Path, typer.Argument(parser=folder_here, metavar="TO", help="A new folder.")],
    revision: Annotated[
        str, typer.Option(help="A branch, a tag or a commit of the repository.")
    ] = "",
) -> None:
    """Fetch labels and images that were given away, and check every byte of them."""
    from ..exchange.hub import pull as fetch

    fetch(place, to, revision)
    typer.echo(f"wrote {to / 'labels'} and {to / 'images'}")


def _collect(
    gather: Callable[[list[Path], Path], tuple[int, int]], paths: list[Path], to: str, what: str
) -> None:
    """Add records to a collection, which may be far away."""
    from ..core import remote

    with remote.edited(to) if remote.is_url(to) else nullcontext(Path(to)) as target:
        added, count = gather(paths, target)
    typer.echo(f"{to}: {added} {what} added, {count} in all")


def _verified(paths: list[Path]) -> "Report":
    """The report on these records, shown."""
    from ..report.verify import verify_records

    report = verify_records(paths)
    _show(report)
    return report


def _show(report: "Report") -> None:
    for line in report.warnings:
        typer.echo(f"warning: {line}")
    for line in report.problems:
        typer.echo(f"problem: {line}")
