"""CIFAR-10 within an hour on two CPU cores."""

from ..recipe import Augmentation, Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class Cpu(RecipeSource):
    """Batch and lr are RDED's for its Conv-3 students; 600 steps at IPC 10, as RDED takes there."""

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(
            self.name,
            epochs=150,
            batch_size=25,
            lr=2e-3,
            augmentation=Augmentation(crop_scale=(0.25, 1.0)),
        )
