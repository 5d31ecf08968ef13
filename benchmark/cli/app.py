"""The command line: all commands in one place. Nothing imports torch until a command needs it."""

from typing import Annotated

import typer

from . import labels
from .advise import advise
from .clean import clean
from .distortion import distortion
from .options import help_of
from .plugins import check, list_
from .profile import profile
from .records import collect, pull, ship, verify
from .reference import reference
from .run import run
from .sizes import size
from .tables import compare, leaderboard

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"labelbench {version('labelbench')}")
        raise typer.Exit


@app.callback()
def labelbench(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which one this is."),
    ] = False,
) -> None:
    """Compare ways of compressing the soft labels of distilled datasets."""


for name, command in {
    "run": run,
    "profile": profile,
    "distortion": distortion,
    "list": list_,
    "check": check,
    "leaderboard": leaderboard,
    "compare": compare,
    "advise": advise,
    "reference": reference,
    "size": size,
    "verify": verify,
    "collect": collect,
    "ship": ship,
    "pull": pull,
    "clean": clean,
}.items():
    app.command(name=name, help=help_of(command))(command)
app.add_typer(labels.app, name="labels")
