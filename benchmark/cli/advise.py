"""`advise`: which method to take, from records."""

from pathlib import Path
from typing import Annotated

import typer

from ..api.records import advise as answers
from ..core import progress
from .showing import Json, Quiet, Wide, show_json, show_text, width
from .tables import record_path


def advise(
    dataset: Annotated[str, typer.Option(help="The dataset, as records name it.")],
    size: Annotated[
        str,
        typer.Option(
            "--bytes",
            help="Most that labels may take: 4096 (bytes), 10kB (10,000), 2KiB (2,048), MB, MiB, "
            "or 40x of the full labels.",
        ),
    ],
    ipc: Annotated[
        int | None, typer.Option(min=1, help="Images per class; any if left out.")
    ] = None,
    student: Annotated[str, typer.Option(help="The student; any if left out.")] = "",
    recipe: Annotated[str, typer.Option(help="The recipe; any if left out.")] = "",
    images: Annotated[
        str, typer.Option(help="The image source, without its draw; any if left out.")
    ] = "",
    without_prior: Annotated[
        bool, typer.Option("--without-prior", help="No public model may be needed.")
    ] = False,
    records: Annotated[
        list[Path] | None,
        typer.Option(
            parser=record_path,
            metavar="PLACE",
            help="A record file or folder, a URL, hf:OWNER/NAME; results if none.",
        ),
    ] = None,
    wide: Wide = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which method is best within so many bytes, how sure that is, and what is not known.

    Each comparison answers for itself: other images, images per class, students, recipes,
    teachers and worlds are other questions. A method that cannot be told apart from the best
    stands beside it. Where nothing that was measured fits, the exit code is 2.
    """
    given = (ipc, student, recipe, images, without_prior, records or ())
    with progress.quiet(quiet):
        found = answers(dataset, size, *given)
    if json:
        from ..report.values import of_advice

        show_json(of_advice(found.answers, found.question))
        return
    from ..report.advice_text import text
    from ..report.fitting import fitted

    told = text(found.answers, found.question, lambda table: fitted(table, width(wide)))
    show_text(told, wide)
