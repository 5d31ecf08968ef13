"""`list` and `check`: what there is to choose from, and whether it keeps its contract."""

from collections.abc import Iterator
from typing import Annotated

import typer

from ..api.check import checks
from ..api.surroundings import Plugins
from ..core import progress
from ..core.errors import unknown
from .describing import as_json, described
from .showing import Json, Quiet, Wide, show_json, show_text, width


def names(incomplete: str = "") -> list[str]:
    """Every plugin that begins so, once, whatever its kinds: a name may be a method's and more."""
    from ..core import plugins

    every = [name for kind in plugins.KINDS for name in plugins.found(kind)]
    return sorted({name for name in every if name.startswith(incomplete)})


def list_(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One of these: its options with types, defaults and meaning, and what to cite.",
            autocompletion=names,
        ),
    ] = None,
    plugin: Plugins = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Show methods, datasets, image sources, networks, recipes and shipped grids."""
    from ..core import plugins

    for path in plugin or ():
        plugins.add(path)
    every = [found for kind in plugins.KINDS for found in plugins.found(kind).values()]
    shown = [found for found in every if name in (None, found.name)]
    if not shown:
        raise unknown("plugin", name or "", names())
    if json:
        show_json({"plugins": [as_json(each) for each in shown], "grids": _grids()})
    elif name is not None:
        for each in shown:
            show_text("\n".join(described(each, width(wide))), wide)
    else:
        show_text("\n".join(_listed()), wide)


def _listed() -> Iterator[str]:
    """All there is, a line each."""
    from ..core import plugins
    from ..models import networks

    for kind in plugins.KINDS:
        if kind == plugins.NETWORKS:
            rows = networks.names()
        else:
            rows = {n: p.description.summary for n, p in plugins.found(kind).items()}
        yield from _section(f"{kind.plural} ({kind.option})", rows)
    yield from _section("grids (--config)", _grids())


def _grids() -> dict[str, str]:
    """Shipped grids, and what each is for."""
    from ..experiment.grid import CONFIGS

    files = sorted(CONFIGS.glob("*.toml"))
    first = {path.stem: path.read_text(encoding="utf-8").partition("\n")[0] for path in files}
    return {name: line.lstrip("# ") for name, line in first.items()}


def _section(title: str, rows: dict[str, str]) -> Iterator[str]:
    longest = max(map(len, rows), default=0)
    yield from ("", title)
    for name, text in rows.items():
        yield f"  {name:<{longest}}  {text}"


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A method, dataset, image source, network family or recipe.",
            autocompletion=names,
        ),
    ],
    plugin: Plugins = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a plugin against the contract of its kind, on the CPU, in seconds."""
    done = []
    with progress.quiet(quiet):
        for each in checks(name, plugin or []):
            done.append(each)
            if not json:
                typer.echo(each.text())
    failures = sum(each.problem is not None for each in done)
    if json:
        show_json({"name": name, "checks": done})
    elif failures:
        typer.echo(f"{name}: {failures} checks failed.")
    else:
        typer.echo(f"{name} keeps the contract.")
    if failures:
        raise typer.Exit(1)
