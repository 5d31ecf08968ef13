"""The quick start: 8x8 digits on a laptop."""

from ..recipe import Augmentation, Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class Quick(RecipeSource):
    """Mild crops, because digits fill the picture."""

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(
            self.name, epochs=50, batch_size=50, lr=5e-3, augmentation=Augmentation((0.6, 1.0))
        )
