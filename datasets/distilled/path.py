"""Images that others distilled: a folder of class folders, or a Parquet file.

A folder's class folders are matched to the dataset's classes by class name, else by number
(`00012` as RDED names them, `new00012` as SRe2L does), else in sorted order, which is the
order of WordNet ids. A Parquet file has the Hugging Face image layout; where its class names
are the dataset's in another order, its labels are matched by name.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmark.core.errors import UserError
from benchmark.core.needs import Needs
from benchmark.core.progress import track
from benchmark.data.class_folders import class_folders, image_files
from benchmark.data.images import Dataset, Encoded, ResidentImages, Source, decode
from benchmark.models.image_source import ImageSource, ImageTask

from ..parquet import describe, labels_of, sources_of
from .random import check_enough


@dataclass(frozen=True)
class Options:
    """Where the images lie.

    Attributes:
        path: a folder of class folders, or a `.parquet` file.
    """

    path: str = ""


class PathImages(ImageSource[Options]):
    """Images that others distilled."""

    argument = "path"

    def needs(self, ipc: int) -> Needs:
        return Needs(files=(Path(self.options.path),))

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        find(dataset, ipc, self.options)

    def make(self, task: ImageTask) -> ResidentImages:
        """The first `ipc` images of each class, by file name or table row.

        Images of another size are resized and centre cropped to the dataset's resolution.

        Raises:
            UserError: nothing is there, its classes are not the dataset's, a class holds fewer
                than `ipc` images, or one cannot be decoded.
        """
        dataset, images = task.dataset, task.dataset.train
        sources = find(dataset, task.ipc, self.options)
        chosen = [source for found in sources for source in found[: task.ipc]]
        as_array = partial(decode, channels=images.channels, resolution=images.resolution)
        with ThreadPoolExecutor() as pool:
            arrays = list(track(pool.map(as_array, chosen), "decode images", len(chosen)))
        labels = torch.arange(len(sources)).repeat_interleave(task.ipc)
        return ResidentImages(torch.from_numpy(np.stack(arrays)), labels, dataset.class_names)


def find(dataset: Dataset, ipc: int, options: Options) -> Sequence[Sequence[Source]]:
    """The encoded pictures of each class, at least `ipc` each; raises a UserError as `make`."""
    path = Path(options.path)
    if path.is_dir() and options.path:
        sources = folder_sources(path, dataset)
    elif path.is_file() and path.suffix == ".parquet":
        sources = parquet_sources(path, dataset)
    else:
        raise UserError(
            f"{options.path!r} names no distilled images. Give the path of a folder of class "
            "folders, or of a .parquet file."
        )
    for name, found in zip(dataset.class_names, sources, strict=True):
        check_enough(ipc, len(found), name, repr(options.path))
    return sources


def folder_sources(folder: Path, dataset: Dataset) -> Sequence[Sequence[Path]]:
    """The picture files of each class, in label order."""
    names = class_folders(folder)
    check_classes(len(names), folder, dataset)
    return [image_files(folder / name) for name in in_label_order(names, dataset, folder)]


def in_label_order(names: list[str], dataset: Dataset, folder: Path) -> list[str]:
    """The class folders' names (sorted) in the order of the labels they stand for."""
    if set(names) == set(dataset.class_names):
        return list(dataset.class_names)
    numbered = [match for name in names if (match := re.fullmatch(r"(?:new)?(\d+)", name))]
    if len(numbered) == len(names):
        by_number = {int(match[1]): match[0] for match in numbered}
        if sorted(by_number) != list(range(len(names))):
            raise UserError(
                f"The class folders of {str(folder)!r} are numbered {min(by_number)} to "
                f"{max(by_number)}; they must be 0 to {len(names) - 1}, each once."
            )
        return [by_number[label] for label in range(len(names))]
    return names


def parquet_sources(file: Path, dataset: Dataset) -> Sequence[Sequence[Source]]:
    """The encoded images of each class, in label order."""
    _, _, names = describe([file], file.parent)
    check_classes(len(names), file, dataset)
    same = len(set(names)) == len(names) and set(names) == set(dataset.class_names)
    label_of = [dataset.class_names.index(n) if same else i for i, n in enumerate(names)]
    sources: list[list[Encoded]] = [[] for _ in names]
    for source, label in zip(sources_of(file), labels_of(file, len(names)), strict=True):
        sources[label_of[label]].append(source)
    return sources


def check_classes(count: int, path: Path, dataset: Dataset) -> None:
    """Raise a UserError unless `path` has as many classes as the dataset."""
    if count != len(dataset.class_names):
        raise UserError(
            f"{str(path)!r} holds {count} classes, but {dataset.name!r} has "
            f"{len(dataset.class_names)}."
        )
