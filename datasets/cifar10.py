"""CIFAR-10: 50,000 training and 10,000 test images of 32x32, 10 classes.

Teachers trained on exact pixels lose some ten points on JPEG re-encoded copies of this set:
take lossless sources only.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmark.core.errors import UserError
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import Dataset, ResidentImages, pixel_statistics
from benchmark.data.place import Place

from .parquet import read_folder
from .tables.layout import holds_tables


class Cifar10(DatasetSource):
    """CIFAR-10."""

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From Parquet files in `cifar10/`, or torchvision's folder `cifar-10-batches-py/`."""
        return parquet_or_torchvision(
            "cifar10", "CIFAR10", "cifar-10-batches-py", place, mirror=True
        )


def parquet_or_torchvision(
    name: str,
    source: str,
    layout: str,
    place: Place,
    mirror: bool,
    names: tuple[str, ...] | None = None,
) -> Dataset:
    """The set called `name`: Parquet files in the folder of that name, or torchvision's layout.

    Args:
        source: the name of torchvision's class, whose tables have `data`, `targets` and
            `classes`; to import it takes longer than to read tables.
        layout: the folder under the data root that `source` reads.
        names: class names to use instead of the source's own.

    Raises:
        UserError: the set is not there or not whole, or could not be downloaded.
    """
    folder = place.find(name, name, layout)
    assert place.root is not None  # or `find` had raised
    if folder is None:
        download(name, _torchvision(source), layout, place.root)
    elif holds_tables(place.root / name):
        dataset = read_folder(place.root / name, place.cache, name, mirror)
        for images in (dataset.train, dataset.test):
            images.class_names = names or images.class_names
        return dataset
    return from_torchvision(name, _torchvision(source), layout, place.root, mirror, names)


def _torchvision(source: str) -> type:
    from torchvision import datasets

    return getattr(datasets, source)


def from_torchvision(
    name: str,
    source: type,
    layout: str,
    root: Path,
    mirror: bool,
    names: tuple[str, ...] | None = None,
) -> Dataset:
    """The images of `<root>/<layout>`, read by torchvision (which checks CIFAR's MD5 sums).

    Raises:
        UserError: the folder is absent, damaged or not whole.
    """

    def split(train: bool) -> ResidentImages:
        try:
            table = source(root, train=train, download=False)
            pixels = torch.as_tensor(table.data)
            labels = torch.as_tensor(table.targets)
        except Exception as error:  # by the damage: RuntimeError, OSError, EOFError, ValueError
            raise UserError(
                f"Dataset {name!r} is absent or damaged in {str(root / layout)!r} "
                f"({type(error).__name__}: {error}). Put Parquet files in "
                f"{str(root / name)!r}, or remove {str(root / layout)!r} and fetch it again."
            ) from error
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        return ResidentImages(pixels.contiguous(), labels, names or table.classes)

    images = split(train=True)
    mean, std = pixel_statistics(images.pixels).tolist()
    return Dataset(name, images, split(train=False), tuple(mean), tuple(std), mirror)


def download(name: str, source: Callable[..., Any], layout: str, root: Path) -> None:
    """Have torchvision fetch `<root>/<layout>`: all of it, or nothing is left behind.

    Raises:
        UserError: the download failed, or the data root cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as partial:
            source(partial, train=True, download=True)
            if not (root / layout).exists():  # or another run was faster
                (Path(partial) / layout).rename(root / layout)
    except Exception as error:
        raise UserError(
            f"Dataset {name!r} could not be downloaded ({type(error).__name__}: {error}). "
            f"Offline: put torchvision's folder {layout!r}, or a folder {name!r} of Parquet "
            f"files, in the data root {str(root)!r}."
        ) from error
