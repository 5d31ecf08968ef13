"""Label distillation's test of labels: a network, for as many steps as a pilot chooses."""

from ..recipe import Augmentation, Objective, Recipe
from ..recipe_source import RecipeSetting, RecipeSource


class LabelDistillation(RecipeSource):
    """Adam (AdamW without weight decay) at a constant rate, on whole images.

    The cross-entropy with the labels, from which this KL differs by a constant.
    """

    paper = "Bohdal et al., arXiv 2006.08572"
    deviations = (
        "There 10, 10, 25, 50, 50 and 50 of 10, 20, 50, 100, 200 and 500 images make a batch, "
        "drawn anew for each step; here 50 or all, epoch by epoch.",
        "There learned labels bring their own number of steps, and for others it is chosen among "
        "up to 1,000, or 1,701 for more than 100 images; here alike for all labels among up to "
        "1,000.",
        "There 20 repeats are counted; here as many as there are seeds.",
    )

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return Recipe(
            self.name,
            epochs=0,
            batch_size=50,
            weight_decay=0.0,
            augmentation=Augmentation((1.0, 1.0), (1.0, 1.0), flip=0.0, mix="none"),
            objective=Objective(temperature=1.0),
            schedule="constant",
            steps=1000,
            stop="held-out",
        )
