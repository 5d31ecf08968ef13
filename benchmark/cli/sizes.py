"""`size`: what labels take, from sizes alone."""

from typing import Annotated, Any

import typer

from ..api.size import RANGES
from ..api.size import size as sizes
from ..core import progress
from .showing import Json, Quiet, Wide, show_json, width


def _number(name: str, told: str) -> Any:
    low, high = RANGES[name]
    return typer.Option(min=low, max=high, help=told)


def size(
    classes: Annotated[int, _number("classes", "How many classes there are.")],
    ipc: Annotated[int, _number("ipc", "Images per class.")],
    methods: Annotated[
        str, typer.Option(help="Comma-separated; options in brackets: lpqld\\[k=50].")
    ] = "soft,lpqld",
    budget: Annotated[
        str, typer.Option(help="Byte budgets: 4096, 10kB, 2MiB, or 40x of the full labels.")
    ] = "",
    recipe: Annotated[str, typer.Option(help="Whose epochs and batches.")] = "imagenet1k",
    epochs: Annotated[int | None, _number("epochs", "In place of the recipe's.")] = None,
    batch_size: Annotated[int | None, _number("batch_size", "In place of the recipe's.")] = None,
    resolution: Annotated[int, _number("resolution", "Pixels a side.")] = 224,
    wide: Wide = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what labels take to ship, and what they would take in the authors' files.

    Nothing is made and no data is needed. A container of one or two KB is not counted. `official`
    columns are the same labels in the files of LPQLD, or of SRe2L where all logits are kept: the
    bytes of all files, and of the 4-KiB blocks that they take, which the papers publish.
    """
    with progress.quiet(quiet), progress.stage("start", "load torch", aloud=False):
        found = sizes(classes, ipc, methods, budget, recipe, epochs, batch_size, resolution)
    if json:
        show_json({"task": found.shape, "sizes": found.rows})
    elif width(wide) is None:
        typer.echo(found.text())
    else:
        from ..report.fitting import fitted
        from ..report.leaderboard import Table

        typer.echo(fitted(Table("size", found.task, "", found.frame()), width(wide)))
