"""What an image source is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..core.device import Compute
from ..data.images import Dataset, ResidentImages

if TYPE_CHECKING:
    from .teachers import Teacher


@dataclass(frozen=True)
class ImageTask:
    """All that an image source is given.

    Attributes:
        ipc: images to make of every class.
        seed: of everything random; the same task gives the same images.
        scratch: a folder for checkpoints and temporary files. After a kill the same source
            is given the same folder again.
        teacher: only for sources that need it.
        base: the images to start from, class by class in label order; only for sources that
            need images.
        others: other real datasets, by their names as for `--dataset`; those that `needs` names.
    """

    dataset: Dataset
    ipc: int
    seed: int
    compute: Compute
    scratch: Path
    teacher: "Teacher | None" = None
    base: ResidentImages | None = None
    others: Mapping[str, Dataset] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.compute.device

    def taught(self) -> "Teacher":
        """The teacher, which is there for sources that need it."""
        if self.teacher is None:
            raise RuntimeError("the source must declare in `needs` that it needs a teacher")
        return self.teacher

    def based(self) -> ResidentImages:
        """The images to start from, which are there for sources that need images."""
        if self.base is None:
            raise RuntimeError("the source must declare in `needs` which images it starts from")
        return self.base
