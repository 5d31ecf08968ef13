"""The contract of networks: a family of architectures, made by name."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import nn


class NetworkFamily(ABC):
    """A family of networks that students and teachers can be.

    Class attributes, literals all, as they are read without importing the family (or torch):
        name: of the family; its file's name, or its entry point's.
        paper: what to cite.
        names: name and one-line description of each of its networks.
        pattern: a regular expression of further names that it answers; empty if there are none.
        most: the largest number that a named group of the pattern may hold.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    names: ClassVar[dict[str, str]]
    pattern: ClassVar[str] = ""
    most: ClassVar[dict[str, int]] = {}

    @abstractmethod
    def create(self, name: str, classes: int, channels: int, resolution: int) -> "nn.Module":
        """The network `name`, one that the family declares, with random weights.

        They are drawn from torch's global generator. The network maps normalised pixels
        (B, channels, resolution, resolution) to logits (B, classes).

        Raises:
            UserError: it does not take such images.
        """
