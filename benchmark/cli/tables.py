"""`leaderboard` and `compare`: what records show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..api.records import compare as pairs
from ..api.results import places, read
from ..core import progress
from ..core.command import split_outside_brackets as split
from ..core.errors import UserError
from .options import folder_here, takes
from .showing import Json, Quiet, Wide, show_json, show_tables, show_text


def record_path(place: str) -> Path:
    """What names records, as a path on this machine: of the Hub or of a URL that of a copy."""
    from ..records.hub import on_this_machine

    return on_this_machine(place)


Records = Annotated[
    list[Path] | None,
    typer.Argument(
        parser=record_path,
        metavar="[RECORDS]",
        help="Record files and folders, URLs, hf:OWNER/NAME; results if none.",
    ),
]

MOST_IN_FULL = 6  # pairs; more are a table


@dataclass(frozen=True)
class Asked:
    """What of the leaderboards is shown, and where it is written.

    Attributes: as their help texts say.
    """

    records: Records = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write tables (Markdown, CSV, LaTeX, JSON), pictures and the site here.",
            parser=folder_here,
            metavar="FOLDER",
        ),
    ] = None
    paper: Annotated[
        Path | None,
        typer.Option(
            help="Write tables and pictures for a paper here, as LaTeX and PDF, and its .bib.",
            parser=folder_here,
            metavar="FOLDER",
        ),
    ] = None
    methods: Annotated[
        str,
        typer.Option(
            help="With --paper: methods to show, in this order, as compare takes them; all if left "
            "out."
        ),
    ] = ""
    columns: Annotated[
        str,
        typer.Option(
            help="With --paper: of accuracy, rank, n, bytes, ratio, in-all, over-hard, step, "
            "labels-a-second, fit."
        ),
    ] = "accuracy,bytes"
    dataset: Annotated[str, typer.Option(help="Only comparisons on it.")] = ""
    ipc: Annotated[str, typer.Option(help="Only those of these images per class.")] = ""
    student: Annotated[str, typer.Option(help="Only those of this student.")] = ""
    recipe: Annotated[str, typer.Option(help="Only those of this recipe.")] = ""
    wide: Wide = False
    json: Json = False
    quiet: Quiet = False


@takes(Asked)
def leaderboard(asked: Asked) -> None:
    """Print the leaderboards of records; with --out or --paper, also write them into a folder.

    On a terminal tables have the columns that fit, the essential ones first.
    """
    with progress.quiet(asked.quiet):
        _leaderboard(asked)


def _leaderboard(asked: Asked) -> None:
    from ..records import measurements
    from ..records.comparison import comparisons
    from ..report import distortion_tables, speed_tables
    from ..report.leaderboard import tables
    from ..report.paper import Choice
    from ..report.selection import selected
    from ..report.tables import as_json

    if asked.methods and asked.paper is None:
        raise UserError("--methods is of --paper FOLDER: tables here show all methods.")
    choice = Choice(tuple(split(asked.methods)), tuple(split(asked.columns)))
    timed = measurements.read(places(asked.records))
    published = read(asked.records, or_else=bool(timed))
    ipcs = asked.ipc.split(",")
    found = selected(comparisons(published), asked.dataset, ipcs, asked.student, asked.recipe)
    if asked.json:
        show_json({**as_json(found), "measurements": timed})
    else:
        measured = [*speed_tables.tables(timed), *distortion_tables.tables(timed)]
        show_tables([*tables(found), *measured], asked.wide)
    written = _published(asked.out, found, published, timed) if asked.out else []
    if asked.paper is not None:
        from ..report.paper_files import write_paper

        written += write_paper(found, asked.paper, choice)
    for path in written:
        progress.say(f"wrote {path}") if asked.json else typer.echo(f"wrote {path}")


def _published(out: Path, found: Any, published: Any, timed: Any) -> list[Path]:
    """The files of tables, pictures, ledger and site, which are written."""
    from ..core.files import write_atomic
    from ..report import curves, frontier
    from ..report.reference import as_markdown, ledger
    from ..report.site import write_site
    from ..report.tables import write_tables

    drawn = [*frontier.draw(found, out), *curves.draw(found, out)]
    shown = [path for path in drawn if path.suffix == ".png"]
    reproduced = ledger(published)
    site = write_site(found, out / "site", reproduced, timed)
    reference = out / "reference.md"
    write_atomic(reference, f"# Reproductions\n\n{as_markdown(reproduced)}".encode())
    return [*write_tables(found, out, shown), *drawn, reference, site]


def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A method as tables call it, or IMAGES/METHOD.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    records: Records = None,
    wide: Wide = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether method A beats method B, in every comparison that holds both.

    `rded/lpqld` is lpqld on the image source rded. Without IMAGES a method is taken on the images
    of the other one, or on all that have both. A name without options that no table has by itself
    means all of its settings: `label_solve`.
    """
    for method in (first, second):
        if Path(method).exists() and not records:
            raise UserError(
                f"{method!r} is a file or folder: name two methods first, and then records."
            )
    with progress.quiet(quiet):
        found = pairs(first, second, records or ())
    if json:
        from ..report.values import of_pairs

        show_json(of_pairs(found))
        return
    if len(found) > MOST_IN_FULL:
        from ..report.compare import tables

        show_tables(tables(found), wide)
    for pair in found if len(found) <= MOST_IN_FULL else ():
        show_text(pair.text(), wide)
    show_text(
        "A difference is shown if a paired t test over repeats and one over test images both find "
        f"it at 5 %, corrected for the {len(found)} above by Benjamini and Hochberg.",
        wide,
    )
