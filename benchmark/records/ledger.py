"""The ledger: the bytes of an artefact, split by what they are for."""

import math
from dataclasses import asdict, dataclass
from typing import Literal, get_args

Kind = Literal["values", "indices", "views", "weights"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Ledger:
    """What a label source costs to ship, measured on disk.

    Attributes:
        values: label values. indices: class indices. views: how to find the labelled views
            again. weights: of networks that make labels. container: all else in the folder
            (manifest, headers).
        parameters: how many numbers `weights` holds, as HeLlO's paper counts.
        blocks: the folder in 4-KiB blocks, as LPLD's and LPQLD's papers count.
        prior: bytes of a public model that must be present; not shipped, never in the total.
        teacher: bytes of a teacher that must run at training time and is not in `weights`.
    """

    values: int = 0
    indices: int = 0
    views: int = 0
    weights: int = 0
    container: int = 0
    parameters: int = 0
    blocks: int = 0
    prior: int = 0
    teacher: int = 0

    @property
    def total(self) -> int:
        """Everything that must be shipped beyond the images: the figure that ranks."""
        return self.values + self.indices + self.views + self.weights + self.container

    def as_dict(self) -> dict[str, int]:
        """All columns, with the total, for a record."""
        return {**asdict(self), "total": self.total}


def times_smaller(soft: int, total: int) -> float:
    """How many times the bytes of all labels those of some are; infinite where nothing ships."""
    return soft / total if total else math.inf
