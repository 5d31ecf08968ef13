"""CIFAR-10: 50,000 training and 10,000 test images of 32x32, 10 classes.

Teachers trained on exact pixels lose some ten points on JPEG re-encoded copies of this set:
take lossless sources only.
"""

import torch
from torchvision.datasets import CIFAR10

from benchmark.images import Dataset, ResidentImages, pixel_statistics

from .parquet import read_folder
from .place import Place


def load(place: Place) -> Dataset:
    """From Parquet files in `cifar10/`, or torchvision's folder `cifar-10-batches-py/`."""
    folder = place.find("cifar10", "cifar10", "cifar-10-batches-py")
    if folder is not None and folder.name == "cifar10":
        return read_folder(folder, place.stages, "cifar10", mirror=True)
    return from_torchvision("cifar10", CIFAR10, place, mirror=True)


def from_torchvision(
    name: str, source: type, place: Place, mirror: bool, names: tuple[str, ...] | None = None
) -> Dataset:
    """Images of a torchvision set with `data`, `targets` and `classes`, read from the data root."""
    splits = []
    for train in (True, False):
        table = source(place.root, train=train, download=place.download)
        pixels = torch.as_tensor(table.data)
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        labels = torch.as_tensor(table.targets)
        splits.append(ResidentImages(pixels.contiguous(), labels, names or table.classes))
    mean, std = pixel_statistics(splits[0].pixels).tolist()
    return Dataset(name, *splits, tuple(mean), tuple(std), mirror)
