"""The papers' budget for CIFAR and Tiny-ImageNet: 300 epochs, AdamW, CutMix, KL at T = 20."""

from ..recipe import Augmentation, Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class Standard(RecipeSource):
    """On crops of at least a quarter of the image."""

    paper = "RDED, arXiv 2312.03526; LPQLD, arXiv 2604.18135"
    deviations = ("Batch, learning rate and crops are one for all IPC, classes and students.",)

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(
            self.name, epochs=300, batch_size=100, augmentation=Augmentation(crop_scale=(0.25, 1.0))
        )
