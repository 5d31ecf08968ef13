"""`python -m benchmark labels`: labels that change hands. Imports torch when a command needs it."""

from pathlib import Path
from typing import Annotated

import typer

from ..api.surroundings import Plugins
from .options import folder_here

app = typer.Typer(
    no_args_is_help=True, help="Look at labels, check them, take and give them in others' forms."
)
Labels = Annotated[
    Path, typer.Argument(help="Ours, or in the form of SRe2L, LPLD or LPQLD.", exists=True)
]
Images = Annotated[
    Path | None,
    typer.Option(help="Class folders of pictures, or the images of a folder given away."),
]
Accept = Annotated[
    str, typer.Option(help="labels: go on though their classes do not fit the images.")
]


@app.command()
def inspect(labels: Labels, images: Images = None) -> None:
    """Say what a folder of labels is, and where its bytes go."""
    from ..exchange.convert import inspect as look

    _show(look(labels, images))


@app.command()
def verify(
    labels: Labels, images: Images = None, plugin: Plugins = None, accept: Accept = ""
) -> None:
    """Read a folder of labels whole, and check that it fits its images."""
    from ..core import plugins
    from ..exchange.convert import verify_labels

    for path in plugin or ():
        plugins.add(path)
    typer.echo(verify_labels(labels, images, _joins(accept)))


@app.command(name="import")
def import_(
    labels: Annotated[Path, typer.Argument(help="In the form of SRe2L, LPLD or LPQLD.")],
    images: Annotated[Path, typer.Argument(help="Their images, as class folders.")],
    to: Annotated[
        Path,
        typer.Argument(
            parser=folder_here,
            metavar="TO",
            help="A new folder, for `labels/`, `images/` and a card.",
        ),
    ],
    recipe: Annotated[
        str, typer.Option(help="Whose epochs, batches and loss students will have.")
    ] = "imagenet1k",
    mean: Annotated[
        str,
        typer.Option(
            help="By which students normalise pixels in 0..1: imagenet, dataset (the images' own), "
            "or numbers with commas between."
        ),
    ] = "imagenet",
    std: Annotated[str, typer.Option(help="Likewise.")] = "imagenet",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="LPQLD's options: keep=0.1, quantise=mr, k=10; repeatable."),
    ] = None,
    accept: Accept = "",
) -> None:
    """Turn labels of others, with their images, into a folder that `open_labels` opens."""
    from ..core.errors import UserError
    from ..data import recipes
    from ..exchange.convert import import_labels

    recipes.require(recipe)
    options = {}
    for text in set_ or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set takes OPTION=VALUE, got {text!r}.")
        options[name.strip()] = value.strip()
    _show(import_labels(labels, images, to, recipe, options, mean, std, _joins(accept)))


@app.command()
def export(
    shipped: Annotated[Path, typer.Argument(help="A folder with `labels/` and `images/`.")],
    to: Annotated[
        Path,
        typer.Argument(
            parser=folder_here, metavar="TO", help="A new folder, for LPQLD's training script."
        ),
    ],
    plugin: Plugins = None,
) -> None:
    """Write shipped labels and images in the form of LPQLD."""
    from ..core import plugins
    from ..exchange.convert import export as write

    for path in plugin or ():
        plugins.add(path)
    for line in write(shipped, to):
        typer.echo(line)


def _joins(text: str) -> list[str]:
    """What `--accept` names."""
    from ..core.errors import UserError

    found = [name.strip() for name in text.split(",") if name.strip()]
    if set(found) - {"labels"}:
        raise UserError(f"--accept takes labels here, got {text!r}.")
    return found


def _show(rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    for name, text in rows.items():
        typer.echo(f"{name:<{width}}  {text}")
