"""`reference`: what the field has published, and ours beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..api.reference import reference as ledger
from ..api.surroundings import DATA_ROOT, Device
from ..core import progress
from .options import takes
from .showing import Json, Quiet, show_json
from .tables import Records


@dataclass(frozen=True)
class Asked:
    """What of the ledger is asked for."""

    records: Records = None
    within: Annotated[
        str | None,
        typer.Option(help="Measure what is owed and fits into so long on one core: 30m, 2h."),
    ] = None
    work: Annotated[str, typer.Option(help="Folder of stages and records, or a URL.")] = "runs"
    data_root: Annotated[
        Path | None, typer.Option(envvar=DATA_ROOT, help="Where real datasets lie.")
    ] = None
    device: Device = "auto"
    plans: Annotated[
        bool,
        typer.Option(
            "--plans",
            help="Only the plans of ImageNet-1K and 21K: every method's bytes, and the papers'.",
        ),
    ] = False
    json: Json = False
    quiet: Quiet = False


@takes(Asked)
def reference(asked: Asked) -> None:
    """Set published figures beside ours: met, differs, or owed; with --within, measure some first.

    Sizes need no data. Accuracies are read from records; what is owed names its command.
    """
    if asked.plans:
        from ..report.imagenet_sizes import plans_markdown

        print(plans_markdown())
        return
    from ..report.reference import as_markdown

    with progress.quiet(asked.quiet):
        lines = ledger(asked.records or (), asked.within, asked.work, asked.data_root, asked.device)
    if asked.json:
        show_json(lines)
    else:
        typer.echo(as_markdown(lines))
