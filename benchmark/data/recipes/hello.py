"""HeLlO's recipe, as far as it is known."""

from ..recipe import Augmentation, Objective, Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class HelloRecipe(RecipeSource):
    """300 epochs (its label bytes say so) and its loss; the rest is RDED's, which it builds on."""

    paper = "Heavy Labels Out!, arXiv 2408.08201"
    deviations = ("The paper does not give the weight of the cross-entropy; 0.1 here.",)

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(
            self.name,
            epochs=300,
            batch_size=100,
            augmentation=Augmentation(crop_scale=(0.5, 1.0)),
            objective=Objective("mse", ce_weight=0.1),
        )
