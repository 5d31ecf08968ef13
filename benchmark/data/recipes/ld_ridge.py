"""Label distillation's test by ridge regression: `ld` with a last layer that is solved for."""

from dataclasses import replace

from ..recipe import Recipe
from ..recipe_source import RecipeSetting
from .ld import LabelDistillation


class LabelDistillationRidge(LabelDistillation):
    """The network learns features; ridge regression on them answers."""

    def recipe(self, setting: RecipeSetting) -> Recipe:
        return replace(super().recipe(setting), evaluator="ridge")
