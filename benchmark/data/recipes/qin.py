"""The recipe of one fixed soft label an image: a ConvNet, DSA and 3,000 epochs of SGD."""

from ..recipe import Augmentation, Objective, Recipe
from ..recipe_source import RecipeSetting, RecipeSource

CLASSES, SIDE = 10, 32  # of CIFAR-10, the one set that the authors whiten


class Qin(RecipeSource):
    """The test of Qin et al.; for labels that are made once for each plain image."""

    paper = "A Label is Worth a Thousand Images, arXiv 2406.10485"
    deviations = (
        "The last epoch's accuracy counts; theirs is the best of the evaluations.",
        "Weight decay is not applied to one-dimensional parameters, theirs to all.",
        "They train one epoch more.",
        "Experts are trained as teachers are here, in few epochs and on pixels that are not "
        "whitened; theirs for CIFAR-10 is a snapshot of 400 epochs at an lr of 5e-4.",
    )

    def recipe(self, setting: RecipeSetting) -> Recipe:
        tiny = setting.classes == 200
        like_cifar10 = setting.classes == CLASSES and setting.resolution <= SIDE
        return Recipe(
            self.name,
            epochs=1000 if tiny else 3000,
            batch_size=256,
            optimiser="sgd",
            lr=0.1 if tiny and setting.ipc >= 10 else 0.01,
            weight_decay=5e-4,
            schedule="quarters",
            pixels="whitened" if like_cifar10 else "dataset",
            augmentation=Augmentation(
                (1.0, 1.0),
                (1.0, 1.0),
                flip=0.0,
                mix="none",
                dsa=("color", "crop", "cutout", "flip", "scale", "rotate"),
            ),
            objective=Objective(temperature=1.0),
        )
