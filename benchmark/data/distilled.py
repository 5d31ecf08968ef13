"""Distilled images as they lie on disk.

They are `images.safetensors`: uint8 pixels, labels with class names, and where each image stands
in the order of `ImageFolder`, where that is another.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..core import bounded
from ..core.errors import ArtefactError, UserError
from ..core.progress import say
from .images import ResidentImages

FILE = "images.safetensors"
MOST_SIDE = 2**14
MOST_OF_DEVICE = 0.5  # of what is free there, that distilled images may take
NAMES = TypeAdapter(
    Annotated[
        list[Annotated[str, Field(strict=True, max_length=4096)]],
        Field(min_length=1, max_length=1_000_000),
    ]
)


def write(folder: Path, images: ResidentImages) -> None:
    """Write distilled images into the existing `folder`."""
    tensors = {"pixels": images.pixels, "labels": images.labels}
    if images.positions is not None:
        tensors["positions"] = images.positions
    save_file(
        {name: value.cpu().contiguous() for name, value in tensors.items()},
        folder / FILE,
        {"class_names": json.dumps(images.class_names), "digest": images.digest},
    )


def read(folder: Path, device: torch.device) -> ResidentImages:
    """Distilled images, resident on `device`, or memory-mapped where they would fill half of it.

    Raises:
        ArtefactError: there are none, the file is damaged, or its pixels were changed.
    """
    file = folder / FILE
    try:
        if not file.is_file():
            raise UserError("there is no such file")
        with safe_open(file, framework="pt") as handle:
            metadata = handle.metadata() or {}
            names = bounded.parse(NAMES, bounded.loads(metadata.get("class_names", "").encode()))
            keys = set(handle.keys())
            if keys - {"positions"} != {"labels", "pixels"}:
                raise UserError("it must hold `labels` and `pixels`")
            pixels, labels = handle.get_tensor("pixels"), handle.get_tensor("labels")
            positions = handle.get_tensor("positions") if "positions" in keys else None
        for name, numbers in (("labels", labels), ("positions", positions)):
            if numbers is not None and (numbers.dtype != torch.int64 or numbers.ndim != 1):
                raise UserError(f"its {name} are {numbers.dtype} {tuple(numbers.shape)}")
        if not len(labels):
            raise UserError("it holds no images")
        images = ResidentImages(pixels, labels, names, positions=positions)
        if images.channels not in (1, 3) or not 0 < images.resolution <= MOST_SIDE:
            raise UserError(f"its pixels are {tuple(pixels.shape)}")
    except (OSError, SafetensorError, UserError) as error:
        raise ArtefactError(
            f"{str(file)!r} holds no distilled images that can be read: {str(error).rstrip('.')}."
        ) from error
    if images.digest != metadata.get("digest"):
        raise ArtefactError(f"The images in {str(file)!r} were changed: copy them again.")
    free = free_bytes(device)
    if free is not None and images.pixels.nbytes > free * MOST_OF_DEVICE:
        say(
            f"the distilled images take {images.pixels.nbytes / 1e9:.1f} GB, more than half of the "
            f"{free / 1e9:.1f} GB that are free on {device}: they are read from disk by batch"
        )
        return images
    return images.to(device)


def free_bytes(device: torch.device) -> int | None:
    """What is free of a GPU's memory; None of a device whose memory is the host's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
