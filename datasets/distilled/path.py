"""Images that others distilled: a folder of class folders, or a Parquet file.

A folder's class folders are matched to the dataset's classes by class name, else by number
(`00012` as RDED names them, `new00012` as SRe2L does), else, if they are WordNet ids, as sorted.
A Parquet file has the Hugging Face image layout; where its class names are the dataset's in
another order, its labels are matched by name. Other names are refused: nothing would say which
class is which.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.core.needs import Needs
from benchmark.core.progress import track
from benchmark.data.class_folders import class_folders, image_files, in_label_order, positions
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
    brought = True

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
        return ResidentImages(
            torch.from_numpy(np.stack(arrays)),
            labels,
            dataset.class_names,
            positions=self._positions(dataset, task.ipc),
        )

    def _positions(self, dataset: Dataset, ipc: int) -> Tensor | None:
        """Where `ImageFolder` lists the images; None of a table's."""
        folder = Path(self.options.path)
        if not folder.is_dir():
            return None
        names = in_label_order(class_folders(folder), dataset.class_names, folder)
        return positions(names, [ipc] * len(names))


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
    ordered = in_label_order(names, dataset.class_names, folder)
    return [image_files(folder / name) for name in ordered]


def parquet_sources(file: Path, dataset: Dataset) -> Sequence[Sequence[Source]]:
    """The encoded images of each class, in label order."""
    _, _, names = describe([file], file.parent)
    check_classes(len(names), file, dataset)
    label_of = range(len(names))
    if names != dataset.class_names:
        ordered = in_label_order(sorted(names), dataset.class_names, file)
        place = {name: label for label, name in enumerate(ordered)}
        label_of = [place[name] for name in names]
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
