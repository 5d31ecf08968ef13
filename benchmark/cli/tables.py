"""`leaderboard` and `compare`: what records show."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..api.records import compare as pairs
from ..api.results import PUBLISHED, read


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


def leaderboard(
    records: Records = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write tables (Markdown, CSV, LaTeX, JSON), pictures and the site here.",
            file_okay=False,
        ),
    ] = None,
    paper: Annotated[
        Path | None,
        typer.Option(
            help="Write tables and pictures for a paper here, as LaTeX and PDF, and its .bib.",
            file_okay=False,
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="With --paper: methods to show, in this order, as compare takes them; all if left "
            "out."
        ),
    ] = "",
    columns: Annotated[
        str,
        typer.Option(
            help="With --paper: of accuracy, rank, n, bytes, ratio, in-all, over-hard, step, "
            "labels-a-second, fit."
        ),
    ] = "accuracy,bytes",
    dataset: Annotated[str, typer.Option(help="Only comparisons on it.")] = "",
    ipc: Annotated[str, typer.Option(help="Only those of these images per class.")] = "",
    student: Annotated[str, typer.Option(help="Only those of this student.")] = "",
    recipe: Annotated[str, typer.Option(help="Only those of this recipe.")] = "",
) -> None:
    """Print the leaderboards of records; with --out or --paper, also write them into a folder."""
    from ..core.command import split_outside_brackets as split
    from ..core.errors import UserError
    from ..records import measurements
    from ..records.comparison import comparisons
    from ..report import distortion_tables, speed_tables
    from ..report.leaderboard import tables
    from ..report.paper import Choice
    from ..report.selection import selected

    if methods and paper is None:
        raise UserError("--methods is of --paper FOLDER: tables here show all methods.")
    choice = Choice(tuple(split(methods)), tuple(split(columns)))
    timed = measurements.read(records or [PUBLISHED])
    published = read(records, or_else=bool(timed))
    found = selected(comparisons(published), dataset, ipc.split(","), student, recipe)
    for table in [*tables(found), *speed_tables.tables(timed), *distortion_tables.tables(timed)]:
        typer.echo(table.text())
    if out is not None:
        _publish(out, found, published, timed)
    if paper is not None:
        from ..report.paper_files import write_paper

        for path in write_paper(found, paper, choice):
            typer.echo(f"wrote {path}")


def _publish(out: Path, found: Any, published: Any, timed: Any) -> None:
    """Write tables, pictures, ledger and site, and say where."""
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
    for path in [*write_tables(found, out, shown), *drawn, reference, site]:
        typer.echo(f"wrote {path}")


def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A method as tables call it, or IMAGES/METHOD.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    records: Records = None,
) -> None:
    """Say whether method A beats method B, in every comparison that holds both.

    `rded/lpqld` is lpqld on the image source rded. Without IMAGES a method is taken on the images
    of the other one, or on all that have both.
    """
    found = pairs(first, second, records or ())
    for pair in found:
        typer.echo(pair.text())
    typer.echo(
        "A difference is shown if a paired t test over repeats and one over test images both find "
        f"it at 5 %, corrected for the {len(found)} above by Benjamini and Hochberg."
    )
