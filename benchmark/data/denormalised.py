"""Pixels of others' tensors: floats that a mean and a standard deviation normalised, as bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.progress import say
from .images import IMAGENET_MEAN, IMAGENET_STD, Dataset
from .tensors_of_others import TensorsOfOthers

MOST_OUTSIDE = 0.25  # of the numbers; optimised pixels leave 0..1, but not so many
Norm = Literal["auto", "none", "dataset", "imagenet", "dc"]
# As in `get_dataset` of the code of Dataset Condensation (arXiv 2006.05929).
OF_DC: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "mnist": ((0.1307,), (0.3081,)),
    "tiny_imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}


def as_pixels(found: TensorsOfOthers, dataset: Dataset, norm: Norm, file: Path) -> Tensor:
    """The images as uint8 (N, C, R, R).

    Raises:
        UserError: they are of another size than the dataset's, or nothing says how they were
            normalised.
    """
    images, train = found.images, dataset.train
    shape, wanted = tuple(images.shape[1:]), (train.channels, train.resolution, train.resolution)
    if shape != wanted:
        raise UserError(f"The images of {str(file)!r} are {shape}; those of the set are {wanted}.")
    if images.dtype == torch.uint8:
        return images
    within = bool(((images >= 0) & (images <= 1)).all())
    mean, std = _statistics(found, dataset, norm, within, file)
    pixels = images * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    if not within and norm == "auto" and found.norm is None and float(images.min()) >= 0:
        raise UserError(
            f"The floats of {str(file)!r} reach {float(images.max()):g} and none is below 0: are "
            "they 0..255? Save them as uint8, or divided by 255."
        )
    outside = ((pixels < -1 / 510) | (pixels > 1 + 1 / 510)).double().mean().item()
    if outside > MOST_OUTSIDE:
        raise UserError(
            f"{outside:.0%} of the numbers in {str(file)!r} lie outside 0..1 once mean and "
            "standard deviation are taken back: were they whitened, or normalised by others? Set "
            "path.norm, or save pixels."
        )
    if outside > 0.001:
        say(f"{outside:.1%} of the numbers in {file.name} lie outside 0..1 and are clipped")
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8)


def _statistics(
    found: TensorsOfOthers, dataset: Dataset, norm: Norm, within: bool, file: Path
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation that floats were normalised by, per channel."""
    channels = found.images.shape[1]
    if norm == "auto" and found.norm is not None:
        return found.norm
    if norm == "none" or (norm == "auto" and within):
        return [0.0] * channels, [1.0] * channels
    if norm == "dataset":
        return dataset.mean, dataset.std
    if norm == "imagenet":
        return IMAGENET_MEAN[:channels], IMAGENET_STD[:channels]
    name = dataset.name.partition(":")[0]
    if name not in OF_DC and norm == "dc":
        raise UserError(
            f"path.norm=dc knows {', '.join(OF_DC)}, not {name!r}: take dataset, imagenet or none."
        )
    if name not in OF_DC:
        raise UserError(
            f"The floats of {str(file)!r} are not in 0..1, and nothing says what they were "
            "normalised by: set path.norm to none, dataset or imagenet."
        )
    if norm == "auto":
        say(
            f"{file.name} does not say what its floats were normalised by: the mean and "
            f"standard deviation that DC, DSA, MTT and DATM use for {name} are assumed; path.norm "
            "sets others"
        )
    return OF_DC[name]
