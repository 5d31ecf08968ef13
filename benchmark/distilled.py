"""Distilled images: what their makers are given, and how they lie on disk.

On disk they are `images.safetensors`: uint8 pixels, and labels with class names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .device import Compute
from .errors import ArtefactError
from .images import Dataset, ResidentImages

if TYPE_CHECKING:
    from .teachers import Teacher

FILE = "images.safetensors"


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


def write(folder: Path, images: ResidentImages) -> None:
    """Write distilled images into the existing `folder`."""
    save_file(
        {"pixels": images.pixels.cpu().contiguous(), "labels": images.labels.cpu().contiguous()},
        folder / FILE,
        {"class_names": json.dumps(images.class_names), "digest": images.digest},
    )


def read(folder: Path, device: torch.device) -> ResidentImages:
    """Distilled images, resident on `device`.

    Raises:
        ArtefactError: there are none, the file is damaged, or its pixels were changed.
    """
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            metadata = file.metadata() or {}
            pixels, labels = file.get_tensor("pixels"), file.get_tensor("labels")
        names, digest = json.loads(metadata["class_names"]), metadata["digest"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArtefactError(
            f"{str(folder / FILE)!r} holds no distilled images that can be read: {error}."
        ) from error
    images = ResidentImages(pixels, labels, names)
    if images.digest != digest:
        raise ArtefactError(f"The images in {str(folder / FILE)!r} were changed: copy them again.")
    return images.to(device)
