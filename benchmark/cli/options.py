"""Options as objects: a command takes dataclasses, each field of which is one option."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.markup import escape

from ..core import plugins
from ..core.command import Option, options_of
from ..core.errors import UserError
from ..core.remote import is_url

TYPES: dict[str, Any] = {
    "text": str | None,
    "number": int | None,
    "list": str | None,
    "flag": bool | None,
    "pairs": list[str] | None,
}


def folder_here(text: str) -> Path:
    """What names a folder of this machine that is written to.

    Raises:
        UserError: it is a URL, which would become a folder called `file:`, or a file.
    """
    if is_url(text):
        raise UserError(f"What is written here takes a folder of this machine, got {text!r}.")
    if Path(text).is_file():
        raise UserError(f"What is written here takes a folder, and {text!r} is a file.")
    return Path(text)


def takes(*classes: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function of objects a command whose options are their fields.

    Of a class whose fields have an `Option`, the function is given a dictionary of those fields
    that were named on the command line; of another one, whose fields have typer's own options or
    arguments, an instance.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            function(*(_made(cls, given) for cls in classes))

        parameters = [parameter for cls in classes for parameter in _parameters(cls)]
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore
        run.__doc__, run.__name__ = function.__doc__, function.__name__
        return run

    return decorate


def _made(cls: type[Any], given: dict[str, Any]) -> Any:
    options = options_of(cls)
    if not options:
        return cls(**{field.name: given[field.name] for field in fields(cls)})
    return {
        name: option.parse(given[name])
        for name, option in options.items()
        if given[name] is not None
    }


def _parameters(cls: type[Any]) -> list[inspect.Parameter]:
    """What typer reads: a parameter for each field."""
    hints, options = get_type_hints(cls, include_extras=True), options_of(cls)
    made = []
    for field in fields(cls):
        hint, default = hints[field.name], field.default
        if option := options.get(field.name):
            hint, default = Annotated[TYPES[option.kind], _typer(option)], None
        assert default is not MISSING
        kind = inspect.Parameter.KEYWORD_ONLY
        made.append(inspect.Parameter(field.name, kind, default=default, annotation=hint))
    return made


def _typer(option: Option) -> Any:
    names = f"--{option.name}/--no-{option.name}" if option.kind == "flag" else f"--{option.name}"
    return typer.Option(names, help=escape(option.help), autocompletion=_completion(option.name))


def _completion(name: str) -> Callable[[str], list[str]] | None:
    """What a shell completes an option with: names of plugins, also behind commas."""
    kinds = [kind for kind in plugins.KINDS if f"--{name}" in kind.option.split(", ")]
    if not kinds:
        return None

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        found = [n for kind in kinds for n in plugins.found(kind) if n.startswith(last)]
        return [f"{before}{comma}{each}" for each in found]

    return complete


def help_of(function: Callable[..., Any]) -> str:
    """A command's docstring as help: paragraphs without line breaks, brackets as they are."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return escape("\n\n".join(" ".join(each.split()) for each in paragraphs))
