"""How a command shows its results: tables that fit the terminal or whole ones, JSON, or little."""

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..report.leaderboard import Table

Wide = Annotated[
    bool,
    typer.Option("--wide", help="All columns and full names, however wide the terminal is."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, and nothing else.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Nothing on standard error but what is wrong.")
]


@dataclass(frozen=True)
class Showing:
    """How results are shown.

    Attributes: as their help texts say.
    """

    wide: Wide = False
    json: Json = False
    quiet: Quiet = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tracebacks of what failed, too.")
    ] = False


def width(wide: bool) -> int | None:
    """Characters that a line may have; None where standard output is no terminal."""
    if wide or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def show_tables(tables: "Iterable[Table]", wide: bool) -> None:
    """Print tables, on a terminal with the columns that fit."""
    from ..report.fitting import fitted

    for table in tables:
        typer.echo(fitted(table, width(wide)))


def show_text(text: str, wide: bool) -> None:
    """Print text; on a terminal, lines are broken between words and stay indented."""
    most = width(wide)
    for line in text.splitlines():
        if most is None or len(line) <= most:
            typer.echo(line)
            continue
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        typer.echo(textwrap.fill(line, most, subsequent_indent=indent, break_on_hyphens=False))


def show_json(value: Any) -> None:
    """Print a value as JSON; what is not known is null."""
    typer.echo(json.dumps(_plain(value), indent=1, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """A value of JSON's types."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    item = getattr(value, "item", None)  # of a number of numpy's
    return str(value) if item is None else _plain(item())
