"""The checks of a recipe: it gives one for every setting, under its own name."""

from dataclasses import dataclass
from typing import Any

from ...core import plugins
from ...data.recipe import Recipe
from ...data.recipe_source import RecipeSetting, RecipeSource
from .checking import Problem, Told, run

SETTINGS = [
    RecipeSetting(classes, ipc, side, student)
    for classes, side in ((10, 32), (200, 64), (1000, 224))
    for ipc in (1, 10, 50)
    for student in ("", "convnet-d3", "resnet18")
]


@dataclass
class Case:
    """A recipe's source."""

    name: str
    source: RecipeSource


def checks(name: str) -> Told:
    """Run all checks on the recipe called `name`."""
    try:
        source: Any = plugins.load(plugins.RECIPES, name)()
    except Exception as error:
        yield "the file defines one RecipeSource", str(error)
        return
    yield from run(plugins.RECIPES, name, Case(name, source), CHECKS, (gives,))


def gives(case: Case) -> None:
    """`recipe` gives a Recipe of its own name for every setting."""
    for setting in SETTINGS:
        made = case.source.recipe(setting)
        if not isinstance(made, Recipe):
            raise Problem(f"for {setting} it returned {type(made).__name__}, not a Recipe.")
        if made.name != case.name:
            raise Problem(f"its recipe is called {made.name!r}, not {case.name!r}: give self.name.")


def is_a_rule(case: Case) -> None:
    """The same setting gives the same recipe."""
    for setting in SETTINGS:
        if case.source.recipe(setting) != case.source.recipe(setting):
            raise Problem(f"for {setting} it gave two different recipes.")


def says_where_it_differs(case: Case) -> None:
    """Deviations are sentences, and a recipe that has some names its paper."""
    for deviation in case.source.deviations:
        if not deviation.endswith("."):
            raise Problem(f"the deviation {deviation!r} is no sentence.")
    if case.source.deviations and not case.source.paper:
        raise Problem("it has deviations, and no `paper` that they are from.")


CHECKS = (gives, is_a_rule, says_where_it_differs)
