"""Images that others distilled: class folders, a Parquet file, tensors (DC, MTT, DATM), a grid.

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
from benchmark.core.progress import say, track
from benchmark.core.work import Work
from benchmark.data.class_folders import class_folders, image_files, in_label_order, positions
from benchmark.data.denormalised import Norm, as_pixels
from benchmark.data.grid_picture import read_grid
from benchmark.data.images import Dataset, Encoded, ResidentImages, Source, decode
from benchmark.data.tensors_of_others import SUFFIXES, files_of, read_tensors
from benchmark.models.image_source import ImageSource, ImageTask

from ..parquet import describe, labels_of, sources_of
from .random import check_enough


@dataclass(frozen=True)
class Options:
    """Where the images lie.

    Attributes:
        path: a folder of class folders, a `.parquet` file, tensors (`.pt`, `.pth`, `.npz`), or
            a `.png` of `save_image`: a grid of pictures, class by class.
        norm: only of tensors: what their floats were normalised by. `auto` is what the file
            tells; else nothing, if all are in 0..1; else `dc`, which is told. `none`; `dataset`,
            the training set's mean and standard deviation; `imagenet`; `dc`, those of Dataset
            Condensation's code, which DSA, MTT and DATM share.
        experiment: only of DC's and DSA's files: which of their experiments.
    """

    path: str = ""
    norm: Norm = "auto"
    experiment: int = 0


class PathImages(ImageSource[Options]):
    """Images that others distilled."""

    argument = "path"
    brought = True

    def needs(self, ipc: int) -> Needs:
        path = Path(self.options.path)
        return Needs(files=files_of(path) if is_tensors(self.options.path) else (path,))

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        find(dataset, ipc, self.options)

    def work(self, dataset: Dataset, ipc: int) -> Work:
        return Work()

    def make(self, task: ImageTask) -> ResidentImages:
        """The first `ipc` images of each class, by file name or table row.

        Images of another size are resized and centre cropped to the dataset's resolution.

        Raises:
            UserError: nothing is there, its classes are not the dataset's, a class holds fewer
                than `ipc` images, or one cannot be decoded.
        """
        if is_whole(self.options.path):
            return self._of_whole(task.dataset, task.ipc)
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

    def _of_whole(self, dataset: Dataset, ipc: int) -> ResidentImages:
        """The first `ipc` images of each class; their positions are their places in the file."""
        pixels, classes = read_whole(dataset, self.options)
        chosen = chosen_of(classes, dataset, ipc, Path(self.options.path))
        all_of_them = len(chosen) == len(classes)
        return ResidentImages(
            pixels[chosen],
            classes[chosen],
            dataset.class_names,
            positions=chosen if all_of_them else None,
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
    if is_whole(options.path):
        chosen_of(read_whole(dataset, options)[1], dataset, ipc, path)
        return []
    if path.is_dir() and options.path:
        sources = folder_sources(path, dataset)
    elif path.is_file() and path.suffix == ".parquet":
        sources = parquet_sources(path, dataset)
    else:
        raise UserError(
            f"{options.path!r} names no distilled images. Give the path of a folder of class "
            f"folders, of a .parquet file, of tensors ({', '.join(SUFFIXES)}), or of a grid (.png)."
        )
    for name, found in zip(dataset.class_names, sources, strict=True):
        check_enough(ipc, len(found), name, repr(options.path))
    return sources


def is_tensors(path: str) -> bool:
    """Whether a path is that of a file of tensors."""
    return Path(path).suffix in SUFFIXES and Path(path).is_file()


def is_whole(path: str) -> bool:
    """Whether a path is that of one file of pixels: tensors, or a grid."""
    return is_tensors(path) or (Path(path).suffix == ".png" and Path(path).is_file())


def read_whole(dataset: Dataset, options: Options) -> tuple[Tensor, Tensor]:
    """Pixels, uint8 (N, C, R, R), and classes, int64 (N,), of a file of tensors or a grid."""
    file, train = Path(options.path), dataset.train
    if not is_tensors(options.path):
        return read_grid(file, len(dataset.class_names), train.channels, train.resolution)
    found = read_tensors(file, options.experiment)
    if found.rate is not None:
        say(f"{file.name} brings a learned rate of {found.rate:g}: --set recipe.lr takes it")
    return as_pixels(found, dataset, options.norm, file), found.classes


def chosen_of(classes: Tensor, dataset: Dataset, ipc: int, file: Path) -> Tensor:
    """The places of the first `ipc` images of each class, class by class, int64."""
    count = len(dataset.class_names)
    if not 0 <= int(classes.min()) <= int(classes.max()) < count:
        raise UserError(
            f"{str(file)!r} has classes {int(classes.min())} to {int(classes.max())}; those of "
            f"{dataset.name!r} are 0 to {count - 1}."
        )
    places = []
    for label, name in enumerate(dataset.class_names):
        found = torch.nonzero(classes == label).squeeze(1)
        check_enough(ipc, len(found), name, repr(str(file)))
        places.append(found[:ipc])
    return torch.cat(places)


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
