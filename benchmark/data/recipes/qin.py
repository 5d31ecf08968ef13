"""The recipe of one fixed soft label an image: a ConvNet, DSA and 3,000 epochs of SGD."""

from ..recipe import Augmentation, Objective, Recipe
from ..recipe_source import RecipeSetting, RecipeSource

SMALL = 32  # pixels a side, up to which the authors whiten


class Qin(RecipeSource):
    """The test of Qin et al.; for labels that are made once for each plain image."""

    paper = "A Label is Worth a Thousand Images, arXiv 2406.10485"
    deviations = (
        "The last epoch's accuracy counts; theirs is the best of the evaluations.",
        "Weight decay is not applied to one-dimensional parameters, and momentum goes on where "
        "the lr falls.",
        "Experts are trained as teachers are here, on pixels that are not whitened.",
    )

    def recipe(self, setting: RecipeSetting) -> Recipe:
        tiny = setting.classes == 200
        return Recipe(
            self.name,
            epochs=1000 if tiny else 3000,
            batch_size=256,
            optimiser="sgd",
            lr=0.1 if tiny and setting.ipc >= 10 else 0.01,
            weight_decay=5e-4,
            schedule="step",
            pixels="whitened" if setting.resolution <= SMALL else "dataset",
            augmentation=Augmentation(
                (1.0, 1.0),
                (1.0, 1.0),
                flip=0.0,
                mix="none",
                dsa=("color", "crop", "cutout", "flip", "scale", "rotate"),
            ),
            objective=Objective(temperature=1.0),
        )
