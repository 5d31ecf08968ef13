"""Omniglot: hand-drawn characters of 1 x 28 x 28, 20 drawings each; `omniglot:Latin` is a part.

Lake et al., "Human-level concept learning through probabilistic program induction" (Science,
2015). Pictures of 105 pixels a side are shrunk to 28, and ink is bright, as in MNIST. The split
is ours: drawers 1 to 15 for training, 16 to 20 for testing. Alphabets are named as in the
original folders, such as `Japanese_(katakana)`.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError, unknown
from benchmark.core.facts import fact
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import (
    DECODER,
    Dataset,
    Images,
    ResidentImages,
    decode_all,
    decoded,
    derived,
    of_classes,
    pixel_statistics,
)
from benchmark.data.place import Place

from .cifar10 import download
from .parquet import read_folder
from .tables.layout import holds_tables

RESOLUTION = 28
LAYOUT = "omniglot-py"
TRAINING_DRAWERS = 15


class OmniglotSource(DatasetSource):
    """Omniglot, or one of its alphabets."""

    argument = "ALPHABET"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From Parquet files in `omniglot/`, or the original pictures in torchvision's folder.

        Args:
            argument: one of the alphabets that are there; all of them if empty.

        Raises:
            UserError: the data is not there, or has no such alphabet.
        """
        folder = place.find("omniglot", "omniglot", LAYOUT)
        assert place.root is not None  # or `find` had raised
        if folder is None:
            download("omniglot", _both_parts, LAYOUT, place.root)
            folder = place.root / LAYOUT
        if holds_tables(folder):
            read = read_folder(folder, place.cache, "omniglot", False, (1, RESOLUTION))
            train, test = read.train, read.test
        else:
            train, test = _pictures(folder, place.cache)
        cache = place.cache
        whole = _dataset("omniglot", _bright(train, cache), _bright(test, cache), cache)
        if not argument:
            return whole
        alphabets = [name.partition("/")[0] for name in whole.class_names]
        if argument not in alphabets:
            raise unknown("alphabet of Omniglot", argument, sorted(set(alphabets)))
        labels = [label for label, of in enumerate(alphabets) if of == argument]
        name = f"omniglot:{argument}"
        part = of_classes(whole, labels, name, cache)
        return _dataset(name, part.train, part.test, cache)


def _dataset(name: str, train: Images, test: Images, cache: Cache) -> Dataset:
    def measured() -> list[list[float]]:
        return pixel_statistics(train.take(torch.arange(len(train)))).tolist()

    unknown = [[math.nan], [math.nan]]
    mean, std = fact(cache, "statistics", train.digest, measured) or unknown
    return Dataset(name, train, test, tuple(mean), tuple(std), mirror=False)


def _bright(images: Images, cache: Cache) -> Images:
    """The same drawings with ink at 255."""
    names, labels = list(images.class_names), images.labels

    def made() -> ResidentImages:
        return ResidentImages(255 - images.take(torch.arange(len(labels))), labels, names)

    return derived(images, "bright", [images.digest, names], made, labels, cache)


def _pictures(folder: Path, cache: Cache) -> tuple[Images, Images]:
    """Training and test drawings of `images_*/ALPHABET/CHARACTER/NUMBER_DRAWER.png`."""
    paths = sorted(folder.glob("images_*/*/*/*.png"), key=lambda path: path.parts[-3:])
    if not paths:
        raise UserError(f"{str(folder)!r} holds no pictures images_*/ALPHABET/CHARACTER/*.png.")
    classes = [f"{path.parts[-3]}/{path.parts[-2]}" for path in paths]
    names = sorted(set(classes))
    labels = torch.tensor([names.index(name) for name in classes])
    drawers = torch.tensor([int(path.stem.rpartition("_")[2]) for path in paths])
    told = [(*p.parts[-3:], p.stat().st_size) for p in paths]
    key = {"files": told, "resolution": RESOLUTION, "decoder": DECODER}
    build = decode_all(paths, 1, RESOLUTION, "decode Omniglot")
    images, _ = decoded(cache, key, build, labels, names, (1, RESOLUTION))

    def part(chosen: Tensor) -> Images:
        def made() -> ResidentImages:
            shown = torch.nonzero(chosen).squeeze(1)
            return ResidentImages(images.take(shown), labels[chosen], names)

        follows = [images.digest, chosen.tolist(), names]
        return derived(images, "part", follows, made, labels[chosen], cache)

    return part(drawers <= TRAINING_DRAWERS), part(drawers > TRAINING_DRAWERS)


def _both_parts(root: str, train: bool, download: bool) -> None:
    """Have torchvision fetch its background and evaluation sets."""
    from torchvision.datasets import Omniglot

    for background in (True, False):
        Omniglot(root, background=background, download=download)
