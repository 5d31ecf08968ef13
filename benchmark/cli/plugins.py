"""`list` and `check`: what there is to choose from, and whether it keeps its contract."""

from typing import Annotated, Any

import typer

from ..api.check import checks
from ..api.surroundings import Plugins
from ..core.errors import unknown


def list_(
    name: Annotated[
        str | None, typer.Argument(help="One of these, with its options and their defaults.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Show methods, datasets, image sources, networks, recipes and shipped grids."""
    from ..core import plugins
    from ..experiment.grid import CONFIGS
    from ..models import networks

    for path in plugin or ():
        plugins.add(path)
    if name is not None:
        shown = [
            p for kind in plugins.KINDS for p in plugins.found(kind).values() if p.name == name
        ]
        if not shown:
            known = [n for kind in plugins.KINDS for n in plugins.found(kind)]
            raise unknown("plugin", name, known)
        for each in shown:
            _describe(each)
        return
    for kind in plugins.KINDS:
        if kind == plugins.NETWORKS:
            rows = networks.names()
        else:
            rows = {n: p.description.summary for n, p in plugins.found(kind).items()}
        _section(f"{kind.plural} ({kind.option})", rows)
    grids = {path.stem: path for path in sorted(CONFIGS.glob("*.toml"))}
    first = {n: p.read_text(encoding="utf-8").partition("\n")[0] for n, p in grids.items()}
    _section("grids (--config)", {n: line.lstrip("# ") for n, line in first.items()})


def _section(title: str, rows: dict[str, str]) -> None:
    typer.echo(f"\n{title}")
    width = max(map(len, rows), default=0)
    for name, text in rows.items():
        typer.echo(f"  {name:<{width}}  {text}")


def _describe(plugin: Any) -> None:
    """A plugin's docstring, what to cite, and its options."""
    told = plugin.description
    typer.echo(f"{plugin.kind.name} {plugin.name}\n\n{told.about}")
    if told.paper:
        typer.echo(f"\npaper: {told.paper}")
    if plugin.kind.name == "recipe":
        typer.echo(f"\nCIFAR-10, IPC 10, ConvNet-D3: {_in_words(plugin.name)}")
    for deviation in plugin.literal("deviations", ()):
        typer.echo(f"  deviation: {deviation}")
    for each in told.options:
        typer.echo(f"\n  {each.name}: {each.kind} = {each.default}")
        typer.echo(f"      {each.about}")


def check(
    name: Annotated[
        str, typer.Argument(help="A method, dataset, image source, network family or recipe.")
    ],
    plugin: Plugins = None,
) -> None:
    """Hold a plugin against the contract of its kind, on the CPU, in seconds."""
    failures = 0
    for each in checks(name, plugin or []):
        typer.echo(each.text())
        failures += each.problem is not None
    if failures:
        typer.echo(f"{name}: {failures} checks failed.")
        raise typer.Exit(1)
    typer.echo(f"{name} keeps the contract.")


def _in_words(name: str) -> str:
    """A recipe in one line."""
    from ..data import recipes
    from ..data.recipe_source import RecipeSetting

    recipe = recipes.make(name, RecipeSetting(10, 10, 32, "convnet-d3"))
    objective = recipe.objective
    loss = "mse" if objective.loss == "mse" else f"kl at T={objective.temperature:g}"
    parts = [
        f"at most {recipe.steps} steps" if recipe.steps else f"{recipe.epochs} epochs",
        f"batch {recipe.batch_size}",
        f"{recipe.optimiser} {recipe.lr:g}" + (" constant" * (recipe.schedule == "constant")),
        recipe.augmentation.mix,
        loss + (f" + {objective.ce_weight:g} ce" if objective.ce_weight else ""),
        *(["steps chosen on held-out images"] if recipe.stop == "held-out" else []),
        *(["ridge evaluator"] if recipe.evaluator == "ridge" else []),
    ]
    return ", ".join(parts)
