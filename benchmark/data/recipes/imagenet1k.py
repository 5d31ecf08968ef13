"""LPLD's and LPQLD's recipe for ImageNet-1k, by their official scripts."""

from ..recipe import Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class ImageNet1k(RecipeSource):
    """AdamW under a half cosine, CutMix, KL at T = 20."""

    paper = "LPQLD, arXiv 2604.18135; LPLD, arXiv 2410.15919"
    deviations = ("The learning rate falls step by step, theirs epoch by epoch.",)

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(self.name, epochs=300, batch_size=128)
