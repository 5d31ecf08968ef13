"""The recipes by name: one a file of this folder, or a plugin; see `recipe_source`.

Every method of a comparison shares one recipe. A recipe changed with `--set recipe.X=Y` is
off-protocol: its records say so, and never share a table with others.
"""

from collections.abc import Mapping

from ...core import plugins
from ...core.errors import unknown
from ...core.options import change
from ..recipe import Recipe
from ..recipe_source import RecipeSetting, RecipeSource


def require(name: str) -> None:
    """Raise unless there is a recipe of this name.

    Raises:
        UserError: says which there are.
    """
    known = plugins.found(plugins.RECIPES)
    if name not in known:
        raise unknown("recipe", name, known)


def make(name: str, setting: RecipeSetting, changes: Mapping[str, object] = {}) -> Recipe:
    """The recipe called `name` for a setting, with some of its fields changed.

    Raises:
        UserError: there is no such recipe or field, or a value is refused.
    """
    source: RecipeSource = plugins.load(plugins.RECIPES, name)()
    return change(source.recipe(setting), changes, "recipe")
