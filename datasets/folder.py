"""Class folders of pictures, as torchvision's ImageFolder counts them: `folder:PATH`.

`PATH/train/CLASS/` and one of `PATH/test/CLASS/`, `val`, `valid` or `validation`, the first of
these that is there. Classes are the sorted names of their folders; pictures may lie in folders
within. All are decoded to the commonest short side.
"""

import os
from pathlib import Path

import torch

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.facts import fact, file_digests
from benchmark.core.progress import track
from benchmark.data.class_folders import SUFFIXES, class_folders, image_files
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import (
    DECODER,
    Dataset,
    Images,
    Statistics,
    decode_all,
    decoded,
    shape_of,
)
from benchmark.data.place import Place
from benchmark.data.splits import say_overlap
from benchmark.data.streamed import StreamedImages, sampled_statistics, too_large

from .streams.folders import folder_pictures

HELD_OUT = ("test", "val", "valid", "validation")
SAMPLED = 4096  # training pictures that are looked at before all are decoded
GLANCED = 4  # pictures that are looked at where nothing is to be decoded
LAYOUT = (
    "PATH/train/CLASS/*.png and PATH/test/CLASS/*.png (or val, valid, validation; also "
    f"{', '.join(suffix for suffix in SUFFIXES if suffix != '.png')})"
)


class ClassFolders(DatasetSource):
    """Any folder of class folders."""

    argument = "PATH"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """The dataset in the folder `argument`; relative paths start at the data root, if set.

        Raises:
            UserError: there is no such folder, or its splits or classes are not whole.
        """
        folder = place.folder(argument)
        if folder is None:
            raise UserError(f"folder:{argument} names no folder. Give folder:PATH with {LAYOUT}.")
        train, test = _splits(folder)
        names = _classes(train, test)
        glanced = _glanced(train, names)
        count = sum(len(image_files(train / name)) for name in names)
        if too_large(place.cache, count, *glanced, repr(str(folder))):
            return _streamed(f"folder:{folder.name}", train, test, names, glanced[1], place.cache)
        files = _pictures(train, names)
        step = max(1, sum(map(len, files)) // SAMPLED)
        looked_at = [file for found in files for file in found][::step]
        digests = file_digests(place.cache, looked_at)
        found = fact(place.cache, "shape", digests, lambda: list(shape_of(looked_at)))
        channels, side = found or shape_of(looked_at[:GLANCED])
        images, statistics = _decoded(train, files, names, (channels, side), place.cache)
        held_out, _ = _decoded(test, _pictures(test, names), names, (channels, side), place.cache)
        say_overlap(images, held_out, place.cache, repr(str(folder)))
        return Dataset(f"folder:{folder.name}", images, held_out, *statistics, mirror=False)


def _splits(folder: Path) -> tuple[Path, Path]:
    """The folders of training and test classes."""
    train = folder / "train"
    test = next((folder / name for name in HELD_OUT if (folder / name).is_dir()), None)
    if not train.is_dir() or test is None:
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        told = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "")
        raise UserError(
            f"{str(folder)!r} holds no splits: put {LAYOUT}. Folders in it: {told or 'none'}."
        )
    return train, test


def _classes(train: Path, test: Path) -> list[str]:
    names, tested = class_folders(train), class_folders(test)
    if names != tested:
        alone = {
            where: sorted(set(own) - set(other))
            for where, own, other in ((train, names, tested), (test, tested, names))
        }
        told = "; ".join(
            f"only in {str(where)!r}: {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}"
            for where, found in alone.items()
            if found
        )
        raise UserError(
            f"The classes of {str(train)!r} ({len(names)}) and {str(test)!r} ({len(tested)}) must "
            f"be the same; {told}."
        )
    return names


def _pictures(folder: Path, names: list[str]) -> list[list[Path]]:
    """The pictures of each class, in label order."""
    found = [image_files(folder / name) for name in names]
    for name, files in zip(names, found, strict=True):
        if not files:
            raise UserError(
                f"Class folder {str(folder / name)!r} holds no pictures ({', '.join(SUFFIXES)})."
            )
        if strange := [file for file in files if not file.is_file()]:  # a pipe would never end
            raise UserError(f"{str(strange[0])!r} is no plain file, or a link to nowhere.")
    return found


def _glanced(train: Path, names: list[str]) -> tuple[int, int]:
    """Channels and side of some first pictures: enough to tell whether all would fit."""
    found = [file for name in names[:GLANCED] for file in image_files(train / name)[:GLANCED]]
    files = [file for file in found if file.is_file()]
    return shape_of(files) if files else (3, 1)  # what is wrong is told later


def _streamed(
    name: str, train: Path, test: Path, names: list[str], side: int, cache: Cache
) -> Dataset:
    """The dataset, decoded as it is read, to the side of its first pictures."""
    images, held_out = (
        StreamedImages(folder_pictures(split, names, cache), names, side) for split in (train, test)
    )
    statistics = sampled_statistics(images, cache)
    return Dataset(name, images, held_out, *statistics, mirror=False)


def _decoded(
    folder: Path, files: list[list[Path]], names: list[str], shape: tuple[int, int], cache: Cache
) -> tuple[Images, Statistics]:
    """The images of one split, class by class; they are known by their names and content."""
    paths = [path for found in files for path in found]
    label = f"read {folder.name}"
    digests = file_digests(cache, paths, track(paths, label))
    told = [(os.fspath(p.relative_to(folder)), d) for p, d in zip(paths, digests, strict=True)]
    key = {"pictures": told, "channels": shape[0], "resolution": shape[1], "decoder": DECODER}
    build = decode_all(paths, *shape, f"decode {folder.name}")
    labels = torch.arange(len(names)).repeat_interleave(torch.tensor([len(f) for f in files]))
    return decoded(cache, key, build, labels, names, shape)
