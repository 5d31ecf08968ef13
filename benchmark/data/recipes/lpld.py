"""SRe2L's and LPLD's recipe for Tiny-ImageNet; LPQLD published none."""

from ..recipe import Augmentation, Objective, Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class Lpld(RecipeSource):
    """SGD with a warm-up, no mix, KL times T squared."""

    paper = "LPLD, arXiv 2410.15919; SRe2L, arXiv 2306.13092"
    deviations = ("The learning rate rises and falls step by step, theirs epoch by epoch.",)

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(
            self.name,
            epochs=100,
            batch_size=64,
            optimiser="sgd",
            lr=0.2,
            weight_decay=1e-4,
            warmup=0.05,
            augmentation=Augmentation(mix="none"),
            objective=Objective(rescale=True),
        )
