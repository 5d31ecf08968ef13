"""`advise`: which method to take, from records."""

import re
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UserError
from .tables import RESULTS, read

UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def advise(
    dataset: Annotated[str, typer.Option(help="The dataset, as records name it.")],
    size: Annotated[
        str, typer.Option("--bytes", help="Most that labels may take: 4096, 10kB, 2MiB.")
    ],
    ipc: Annotated[
        int | None, typer.Option(min=1, help="Images per class; any if left out.")
    ] = None,
    student: Annotated[str, typer.Option(help="The student; any if left out.")] = "",
    recipe: Annotated[str, typer.Option(help="The recipe; any if left out.")] = "",
    without_prior: Annotated[
        bool, typer.Option("--without-prior", help="No public model may be needed.")
    ] = False,
    records: Annotated[
        list[Path] | None, typer.Option(help="A record file or folder; results if none.")
    ] = None,
) -> None:
    """Say which method is best within so many bytes, how sure that is, and what is not known.

    Each comparison answers for itself: other images per class, students or recipes are other
    questions. A method that is not shown to be worse than the best is named beside it.
    """
    from ..records.comparison import comparisons
    from ..report.advise import Question
    from ..report.advise import advise as answers

    question = Question(dataset, byte_count(size), without_prior, ipc, student, recipe)
    found = comparisons(read(records or [RESULTS]))
    typer.echo("\n\n".join(answer.text() for answer in answers(found, question)))


def byte_count(text: str) -> int:
    """A number of bytes, with a unit or without.

    Raises:
        UserError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2] not in UNITS:
        units = ", ".join(filter(None, UNITS))
        raise UserError(f"--bytes is {text!r}; valid: a number, and after it one of {units}.")
    return int(float(match[1]) * UNITS[match[2]])
