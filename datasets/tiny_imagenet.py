"""Tiny-ImageNet-200: 100,000 training and 10,000 test images of 64x64, 200 classes.

The labelled validation set serves as test set, as everywhere in the field. Labels are indices
into the WordNet ids sorted alphabetically. Known faults of the original are kept: 7 test
images also stand in the training set, and 27 identical pictures carry different labels.
"""

from pathlib import Path

import torch

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import (
    DECODER,
    Dataset,
    Images,
    Statistics,
    decode_all,
    decoded,
    of_classes,
)
from benchmark.data.place import Place

from .parquet import read_folder
from .tables.layout import holds_tables


class TinyImageNet(DatasetSource):
    """Tiny-ImageNet, or some of its classes."""

    argument = "CLASSES"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From Parquet files in `tiny_imagenet/`, or the original folder `tiny-imagenet-200/`.

        Args:
            argument: how many of the 200, evenly spaced in their order; all if empty. Fewer make a
                task that a CPU can do.

        Raises:
            UserError: the data is not there, or has no such number of classes.
        """
        whole = _load(place)
        count = len(whole.class_names)
        if not argument:
            return whole
        if not argument.isdecimal() or not 2 <= int(argument) <= count:
            raise UserError(
                f"tiny_imagenet:{argument} names no number of classes from 2 to {count}."
            )
        labels = [i * count // int(argument) for i in range(int(argument))]
        return of_classes(whole, labels, f"tiny_imagenet:{argument}", place.cache)


def _load(place: Place) -> Dataset:
    folder = place.find("tiny_imagenet", "tiny_imagenet", "tiny-imagenet-200")
    if folder is None:
        raise UserError(
            "Tiny-ImageNet has no download here: unpack tiny-imagenet-200.zip in the data root."
        )
    if holds_tables(folder):
        return read_folder(folder, place.cache, "tiny_imagenet", mirror=True)
    return _original(folder, place.cache)


def _original(folder: Path, cache: Cache) -> Dataset:
    words = dict(
        line.split("\t", 1) for line in (folder / "words.txt").read_text().splitlines() if line
    )
    wnids = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    names = [words.get(wnid, wnid) for wnid in wnids]
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    train = [
        (path, label_of[wnid])
        for wnid in wnids
        for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))
    ]
    rows = (folder / "val" / "val_annotations.txt").read_text().splitlines()
    test = [
        (folder / "val" / "images" / row.split("\t")[0], label_of[row.split("\t")[1]])
        for row in rows
    ]

    def resident(items: list[tuple[Path, int]], split: str) -> tuple[Images, Statistics]:
        paths, labels = [p for p, _ in items], torch.tensor([c for _, c in items])
        told = [(str(p.relative_to(folder)), p.stat().st_size) for p in paths]
        key = {"files": told, "decoder": DECODER}
        build = decode_all(paths, 3, 64, f"decode Tiny-ImageNet {split}")
        return decoded(cache, key, build, labels, names, (3, 64))

    images, statistics = resident(train, "train")
    return Dataset("tiny_imagenet", images, resident(test, "test")[0], *statistics, mirror=True)
