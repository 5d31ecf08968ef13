"""LPLD's and LPQLD's recipe for ImageNet-21K, by their official scripts."""

from ..recipe import Augmentation, Objective, Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class ImageNet21k(RecipeSource):
    """No mix and no flip, cutout instead."""

    paper = "LPQLD, arXiv 2604.18135; LPLD, arXiv 2410.15919"
    deviations = ("The learning rate falls step by step, theirs epoch by epoch.",)

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(
            self.name,
            epochs=300,
            batch_size=32,
            lr=2e-3,
            augmentation=Augmentation(flip=0.0, mix="none", cutout=0.5),
            # Their "label smoothing" of 0.2 acts on the labels' logits alone.
            objective=Objective(label_scale=0.8),
        )
