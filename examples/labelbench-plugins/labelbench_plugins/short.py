"""Short: a few epochs for trying things out; the fewer the images, the more epochs."""

from benchmark import Augmentation, Recipe, RecipeSetting, RecipeSource


class Short(RecipeSource):
    """AdamW for some 100 steps, whatever the IPC."""

    def recipe(self, setting: RecipeSetting) -> Recipe:
        images = setting.ipc * setting.classes
        batch = min(32, images)
        steps_an_epoch = -(-images // batch)
        return Recipe(
            self.name,
            epochs=max(1, 100 // steps_an_epoch),
            batch_size=batch,
            lr=5e-3,
            augmentation=Augmentation(crop_scale=(0.6, 1.0)),
        )
