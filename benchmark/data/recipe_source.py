"""The contract of recipes: how a paper, or this suite, trains students."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from .recipe import Recipe


@dataclass(frozen=True)
class RecipeSetting:
    """What a recipe may depend on.

    Attributes:
        classes: of the dataset.
        ipc: distilled images a class.
        resolution: of the images, pixels a side.
        student: the network's name; empty where labels are made for any.
    """

    classes: int
    ipc: int
    resolution: int
    student: str = ""


class RecipeSource(ABC):
    """How students are trained; a paper's protocol, or one of this suite.

    Class attributes:
        name: what users call it; its file's name, with hyphens, or its entry point's.
        paper: what it follows.
        deviations: where it differs from that, a sentence each.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    deviations: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.__module__.split(".")[-1].replace("_", "-")

    @abstractmethod
    def recipe(self, setting: RecipeSetting) -> Recipe:
        """The recipe for a setting; what the paper sets by IPC, classes or student is a rule here.

        Its name is the source's.
        """
