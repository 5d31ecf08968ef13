"""Recipe `cpu` for students of online logits, as HeLlO trains them."""

from dataclasses import replace

from ..recipe import Objective, Recipe
from ..recipe_source import RecipeSetting, RecipeSource
from .cpu import Cpu


class CpuMse(RecipeSource):
    """Mean squared error, and cross-entropy with the images' own labels."""

    paper = "Heavy Labels Out!, arXiv 2408.08201 (loss)"
    deviations = ("The paper does not give the weight of the cross-entropy; 0.1 here.",)

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return replace(
            Cpu().recipe(setting), name=self.name, objective=Objective("mse", ce_weight=0.1)
        )
