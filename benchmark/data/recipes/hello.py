"""HeLlO's recipe, as far as it is known."""

from dataclasses import replace

from ..recipe import Objective, Recipe
from ..recipe_source import RecipeSetting
from .rded import Rded


class HelloRecipe(Rded):
    """RDED's, which it builds on, with its loss: squared errors between logits, and hard labels."""

    paper = "Heavy Labels Out!, arXiv 2408.08201"
    deviations = (
        "The paper gives neither the weight of the cross-entropy, 0.1 here, nor batch and lr.",
        *Rded.deviations,
    )

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return replace(super().recipe(setting), objective=Objective("mse", ce_weight=0.1))
