"""RDED's recipe: whole images, CutMix and the teacher's labels, for 300 epochs."""

from ..recipe import Augmentation, Recipe
from ..recipe_source import RecipeSetting, RecipeSource

# By the first part of a student's name.
LR = {
    "efficientnet": 2e-3,
    "mobilenetv2": 2.5e-3,
    "vit": 1e-4,
    "swin": 1e-4,
    "alexnet": 1e-4,
    "vgg": 5e-4,
}
SMALL = 64  # pixels a side; to these, a distilled image is one crop, and views show all of it
TINY = 200, 64  # classes and pixels of Tiny-ImageNet


class Rded(RecipeSource):
    """Batch by IPC and classes, lr by student, as the authors' `argument.py` sets them."""

    paper = "RDED, arXiv 2312.03526"
    deviations = (
        "The last epoch's accuracy counts; theirs is the best of the last fifth's evaluations.",
        "Images are kept exactly, where theirs are JPEG (rded[jpeg=true]); teachers trained here "
        "normalise by the dataset's own statistics.",
        "Their loop passes each batch through the student twice, so its batch-norm statistics move "
        "by 0.19 a step, here by 0.1.",
        "For Tiny-ImageNet they test on images enlarged to 72 pixels and cropped to 64; here they "
        "are as they come.",
        "Above 64 pixels views are crops of a quarter up, as for their mosaics of 2 x 2; patches "
        "are not shuffled.",
        "IPC other than 1, 10 and 50 take the batch of the next smaller one.",
    )

    def recipe(self, setting: RecipeSetting) -> Recipe:
        images = setting.classes * setting.ipc
        batch = 100 if setting.ipc >= 50 else 50 if setting.ipc >= 10 else 10
        if setting.classes in (100, 1000):
            batch *= 2
        if (setting.classes, setting.resolution) == TINY:
            batch = 100
        lr = next((lr for name, lr in LR.items() if setting.student.startswith(name)), 1e-3)
        if setting.classes == 100 and setting.student.startswith("convnet-d3"):
            batch, lr = 25, 2e-3  # their script's exception for CIFAR-100
        whole = setting.resolution <= SMALL
        return Recipe(
            self.name,
            epochs=300,
            batch_size=min(batch, images),
            lr=lr,
            schedule="to-half",
            pixels="imagenet",
            augmentation=Augmentation(
                crop_scale=(1.0 if whole else 0.25, 1.0),
                crop_ratio=(1.0, 1.0) if whole else (3 / 4, 4 / 3),
            ),
        )
