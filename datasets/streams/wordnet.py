"""ImageNet's sets, whichever way they lie on disk: class folders, WebDataset tars, or Parquet.

Labels are indices into the WordNet ids sorted alphabetically, as everywhere, or what tables and
tars count. Which classes there are is as found: any part of a set is one.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from benchmark.core import bounded
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.data.class_folders import class_folders
from benchmark.data.images import IMAGENET_MEAN, IMAGENET_STD, Dataset, Images
from benchmark.data.place import Place
from benchmark.data.splits import check_classes
from benchmark.data.streamed import StreamedImages

from ..parquet import splits_and_classes
from ..tables.layout import holds_tables
from .folders import folder_pictures
from .tables import table_pictures
from .tars import TarPictures, tar_pictures, tars_of

RESOLUTION = 224
HELD_OUT = ("val", "validation", "test")
MOST_BYTES = 2**25  # of a list of class names


def wordnet_set(name: str, place: Place, folder: Path, prefix: str = "") -> Dataset:
    """Training and test images of 224 pixels, decoded as they are read.

    Args:
        prefix: that names of the splits' folders may have.

    Raises:
        UserError: no split is there, or one is not whole.
    """
    held_out = [*HELD_OUT, *(prefix + split for split in HELD_OUT)]
    train_tars = tars_of(folder, ("train", f"{prefix}train"))
    if train_tars:
        train, test = _of_tars(train_tars, tars_of(folder, held_out), folder, place.cache)
    elif holds_tables(folder):
        train, test = _of_tables(folder, place.cache)
    else:
        splits = [
            next((folder / each for each in names if (folder / each).is_dir()), folder / names[0])
            for names in (("train", f"{prefix}train"), held_out)
        ]
        train, test = _of_folders(splits[0], splits[1], folder, place.cache)
    check_classes(train, test, repr(str(folder)))
    return Dataset(name, train, test, IMAGENET_MEAN, IMAGENET_STD, mirror=True)


def _of_folders(train: Path, test: Path, folder: Path, cache: Cache) -> tuple[Images, Images]:
    wnids, tested = class_folders(train), class_folders(test)
    if wnids != tested:
        raise UserError(
            f"{str(train)!r} has {len(wnids)} classes and {str(test)!r} has {len(tested)}; they "
            f"must be the same. In one only: {', '.join(sorted(set(wnids) ^ set(tested))[:5])}."
        )
    names = _named(wnids, folder)
    both = [
        StreamedImages(folder_pictures(split, wnids, cache), names, RESOLUTION)
        for split in (train, test)
    ]
    return both[0], both[1]


def _of_tables(folder: Path, cache: Cache) -> tuple[Images, Images]:
    train, test, classes = splits_and_classes(folder)
    names = _named(classes.names, folder)
    both = [
        StreamedImages(table_pictures(files, folder, classes, cache), names, RESOLUTION)
        for files in (train, test)
    ]
    return both[0], both[1]


def _of_tars(
    train: list[Path], test: list[Path], folder: Path, cache: Cache
) -> tuple[Images, Images]:
    if not test:
        raise UserError(
            f"{str(folder)!r} holds tars to train on and none to test on: put val/*.tar, or "
            "*validation*.tar."
        )
    both = [tar_pictures(files, folder, cache) for files in (train, test)]
    classes = _ordered(both[0].index.classes)
    labels = [_among(each, classes) for each in both]
    names = _named(classes, folder)
    train_images, test_images = (
        StreamedImages(pictures, names, RESOLUTION, own)
        for pictures, own in zip(both, labels, strict=True)
    )
    return train_images, test_images


def _ordered(found: Sequence[str]) -> list[str]:
    """The classes of tars in label order: numbers, which must count from 0, or sorted texts."""
    if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in found):
        return sorted(found)
    numbers = sorted({int(text) for text in found})
    if len(numbers) < len(found) or numbers != list(range(len(numbers))):
        absent = sorted({*range(numbers[-1])} - {*numbers})
        told = f"{absent[0]} is missing" if absent else "one is written in two ways"
        raise UserError(f"The tars' classes are numbers that do not count from 0: {told}.")
    return [str(number) for number in numbers]


def _among(pictures: TarPictures, classes: list[str]) -> torch.Tensor:
    """The labels of a split's pictures among these classes."""
    label_of = {name: label for label, name in enumerate(classes)}
    own = pictures.index.classes
    if strange := [name for name in own if name not in label_of]:
        raise UserError(
            f"The tars to test on in {str(pictures.index.root)!r} have a class {strange[0]!r} that "
            "those to train on have not."
        )
    if own == classes:
        return pictures.index.labels
    return torch.tensor([label_of[name] for name in own])[pictures.index.labels]


def _named(classes: Sequence[str], folder: Path) -> list[str]:
    """What the classes are called: by the mapping that lies there, else as found.

    Numbers count the mapping's WordNet ids as sorted, where there are as many.
    """
    known = synset_names(folder)
    wnids = sorted(known)
    if len(wnids) == len(classes) and all(text.isdecimal() for text in classes):
        return [known[wnid] for wnid in wnids]
    return [known.get(each, each) for each in classes]


def synset_names(folder: Path) -> dict[str, str]:
    """WordNet id to class name ("tench, Tinca tinca"), by the first mapping in the folder."""
    for file in (folder / "LOC_synset_mapping.txt", folder / "words.txt"):
        if file.is_file():
            try:
                text = bounded.read(file, MOST_BYTES).decode()
            except (UserError, UnicodeDecodeError) as error:
                raise UserError(f"Cannot read {str(file)!r}: {error}.") from error
            rows = (line.split(maxsplit=1) for line in text.splitlines())
            return {row[0]: row[1].strip() for row in rows if len(row) == 2}
    return {}
