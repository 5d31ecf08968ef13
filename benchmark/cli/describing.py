"""What `list NAME` says of one plugin: what it is, what to cite, and its options."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import declared, plugins

if TYPE_CHECKING:
    from ..core.declared import Option
    from ..core.plugins import Plugin
    from ..data.recipe import Recipe

ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")
WORDS = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}
WIDEST = 100  # characters of what options mean
USES = {  # how an option is given
    "method": "--methods '{name}[OPTION=VALUE,...]' or --set {name}.OPTION=VALUE",
    "image source": "--images '{name}[OPTION=VALUE,...]' or --set {name}.OPTION=VALUE",
    "recipe": "--set recipe.OPTION=VALUE, which makes a run off-protocol",
}


def described(plugin: "Plugin", width: int | None) -> Iterator[str]:
    """A plugin in lines, its options no wider than `width`."""
    told, kind = plugin.description, plugin.kind.name
    yield from (f"{kind} {plugin.name}", "", told.about)
    if told.paper:
        yield from ("", *_wrapped(f"cite: {told.paper}", width, "      "))
        yield from (f"      https://arxiv.org/abs/{number}" for number in ARXIV.findall(told.paper))
    options = told.options
    if kind == "recipe":
        recipe = _recipe(plugin.name)
        yield from ("", f"CIFAR-10, IPC 10, ConvNet-D3: {_in_words(recipe)}")
        options = _of_recipe(recipe)
    for deviation in plugin.literal("deviations", ()):
        yield from _wrapped(f"  deviation: {deviation}", width, "    ")
    if options and kind in USES:
        yield from ("", f"options: {USES[kind].format(name=plugin.name)}")
    for each in options:
        yield from ("", f"  {each.name}: {kind_in_words(each.kind)} = {_default(each.default)}")
        yield from _wrapped(f"      {each.about}", width, "      ") if each.about else ()
    if told.rules:
        yield from ("", "values:")
    for rule in told.rules:
        yield from _wrapped(f"  {rule}", width, "    ")


def as_json(plugin: "Plugin") -> dict[str, Any]:
    """A plugin as JSON values."""
    told = plugin.description
    options = told.options
    if plugin.kind.name == "recipe":
        options = _of_recipe(_recipe(plugin.name))
    return {
        "kind": plugin.kind.name,
        "name": plugin.name,
        "title": told.title,
        "summary": told.summary,
        "about": told.about,
        "paper": told.paper,
        "options": [
            {
                "name": option.name,
                "type": kind_in_words(option.kind),
                "default": _default(option.default),
                "about": option.about,
            }
            for option in options
        ],
        "values": list(told.rules),
        "deviations": list(plugin.literal("deviations", ())),
    }


def kind_in_words(kind: str) -> str:
    """An option's type for people: `one of mr, ms, none`; choices without their quotes."""
    choices = re.fullmatch(r"Literal\[(.*)\]", kind)
    if choices is not None:
        return f"one of {choices[1].replace(chr(39), '')}"
    several = re.fullmatch(r"tuple\[(.*?)(?:, \.\.\.)?\]", kind)
    if several is not None:
        inner = [kind_in_words(part) for part in several[1].split(", ")]
        alike = len(set(inner)) == 1 and several[1].split(", ")[0] in WORDS
        return f"list of {inner[0]}s" if alike else "list"
    return " or ".join(WORDS.get(part, part.lower()) for part in kind.split(" | "))


def _default(text: str) -> str:
    """As one would write it."""
    if text in ("True", "False", "None"):
        return text.lower()
    return "(empty)" if text in ("''", '""', "()") else text.strip("'\"")


def _wrapped(text: str, width: int | None, indent: str) -> list[str]:
    most = min(width or WIDEST, WIDEST)
    return textwrap.wrap(text, most, subsequent_indent=indent, break_on_hyphens=False)


def _recipe(name: str) -> "Recipe":
    from ..data import recipes
    from ..data.recipe_source import RecipeSetting

    return recipes.make(name, RecipeSetting(10, 10, 32, "convnet-d3"))


def _of_recipe(recipe: "Recipe") -> "tuple[Option, ...]":
    """The options of all recipes, with this one's values."""
    from dataclasses import replace

    file = Path(plugins.__file__).parents[1] / "data" / "recipe.py"
    made = []
    for option in declared.options_in(file, "Recipe"):
        value: Any = recipe
        for part in option.name.split("."):
            value = getattr(value, part)
        if option.name != "name":
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            made.append(replace(option, default=shown or "''"))
    return tuple(made)


def _in_words(recipe: "Recipe") -> str:
    """A recipe in one line."""
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
