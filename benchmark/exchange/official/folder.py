"""Labels in the folders that SRe2L, LPLD and LPQLD publish, read a batch at a time.

    SRe2L   epoch_e/batch_b.tar; which images a batch shows is drawn again from seed 42
    LPLD    the same, and sampler_indices_epoch.json: the order of the images in each epoch; of
            pruned labels without those of the last, incomplete batch
    LPQLD   batch_n.tar, and sampler_indices_batch.json: the images of each batch

Image numbers count the pictures of a folder as torchvision's `ImageFolder` does. What a file
holds is described in `file`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from ...core import bounded
from ...core.bounded import short
from ...core.errors import ArtefactError, UserError
from ...records.ledger import Ledger
from .batch import OfficialBatch, batch_of
from .file import Parts, read_parts

EPOCH_ORDERS = "sampler_indices_epoch.json"
BATCH_IMAGES = "sampler_indices_batch.json"
BATCH, EPOCH = r"batch_(0|[1-9][0-9]{0,8})\.tar", r"epoch_(0|[1-9][0-9]{0,8})"
KEY = r"(?:epoch_|batch_)?(0|[1-9][0-9]{0,8})"
MOST_BYTES = 2**30  # of a JSON file; 300 epochs of ImageNet-21K have 400 MB
SEED = 42  # `--fkd-seed` of all three


@dataclass(frozen=True)
class _Layout:
    """Where the batches of a folder lie, how many labels each has, and of which images."""

    form: str
    batches_per_epoch: int | None
    files: list[Path]
    sizes: list[int]
    images_of: Callable[[int], Tensor]


@dataclass(frozen=True)
class OfficialLabels:
    """A folder of stored labels; iterating gives its batches in order, one in memory at a time.

    Attributes:
        kept: logits a label, k.
        classes: how many there are; None where nothing tells (k of them are kept).
        layout: the folder's files.
        first: the first file, whose types the others share.
        places: our image of each of theirs, int64 (images,); None where both count alike.
    """

    folder: Path
    resolution: int
    kept: int
    classes: int | None
    layout: _Layout
    first: Parts
    places: Tensor | None = None

    @property
    def form(self) -> str:
        """One of `SRe2L`, `LPLD`, `LPQLD`."""
        return self.layout.form

    @property
    def batches_per_epoch(self) -> int | None:
        """None where the folder does not tell (LPQLD)."""
        return self.layout.batches_per_epoch

    @property
    def sizes(self) -> list[int]:
        """Labels in each batch."""
        return self.layout.sizes

    @property
    def batches(self) -> int:
        """How many batches."""
        return len(self.sizes)

    @property
    def labels(self) -> int:
        """How many labels, over all batches."""
        return sum(self.sizes)

    @property
    def ledger(self) -> Ledger:
        """The folder's bytes: values, indices, views (with the JSON file), and all else.

        All files are taken to be of the first one's types.

        Raises:
            ArtefactError: its files are too short for so many labels.
        """
        values = self.labels * self.kept * self.first.values.element_size()
        kept = self.first.indices
        indices = 0 if kept is None else self.labels * self.kept * kept.element_size()
        views = sum(map(self.first.view_bytes, self.sizes))
        views += sum(file.stat().st_size for file in self.folder.glob("sampler_indices_*.json"))
        sizes = [path.stat().st_size for path in self.folder.rglob("*") if path.is_file()]
        if sum(sizes) < values + indices + views:
            raise ArtefactError(
                f"{str(self.folder)!r} has {sum(sizes):,} bytes, fewer than its {self.labels} "
                "labels take."
            )
        return Ledger(
            values=values,
            indices=indices,
            views=views,
            container=sum(sizes) - values - indices - views,
            blocks=sum(-(-size // 4096) * 4096 for size in sizes),
        )

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[OfficialBatch]:
        return map(self.batch, range(self.batches))

    def batch(self, number: int) -> OfficialBatch:
        """The batch at a position, read from its file.

        Raises:
            ArtefactError: the file is missing, damaged, carries code, or does not fit.
        """
        file = self.layout.files[number]
        index = self.layout.images_of(number)
        index = index if self.places is None else self.places[index]
        batch = batch_of(file, index, number, self.resolution)
        kept, whole = batch.values.shape[1], batch.indices is None
        if kept != self.kept or whole != (self.first.indices is None):
            raise ArtefactError(
                f"{str(file)!r} keeps {kept} logits a label {'without' if whole else 'with'} "
                f"class indices; the first file keeps {self.kept} "
                f"{'without' if self.first.indices is None else 'with'} them."
            )
        if self.classes and batch.indices is not None and int(batch.indices.max()) >= self.classes:
            raise ArtefactError(
                f"{str(file)!r} has a logit for class {int(batch.indices.max())}, but there are "
                f"{self.classes} classes."
            )
        return batch


def open_folder(
    folder: Path,
    images: int,
    resolution: int,
    batch_size: int | None = None,
    classes: int | None = None,
    positions: Tensor | None = None,
) -> OfficialLabels:
    """Open a folder of stored labels; only its first file is read yet.

    Args:
        images: how many images the labels were made for.
        resolution: pixels a side of those images.
        batch_size: of SRe2L's and LPLD's batches; by default as large as the first one.
        classes: how many there are, to be checked.
        positions: where their listing has each of our images, int64 (images,), if not in order.

    Raises:
        ArtefactError: the folder has none of the forms, files are missing, or the labels are
            not for so many images or classes.
    """
    if flat := _numbered(folder, BATCH):
        layout = _flat(folder, flat, images)
    elif epochs := _numbered(folder, EPOCH):
        layout = _by_epoch(folder, epochs, images, batch_size)
    else:
        raise ArtefactError(
            f"{str(folder)!r} holds neither epoch_0/batch_0.tar (SRe2L, LPLD) nor batch_0.tar "
            "(LPQLD)."
        )
    first = read_parts(layout.files[0])
    kept = first.values.shape[1]
    if first.indices is None and classes not in (None, kept):
        raise ArtefactError(
            f"{str(folder)!r} holds logits of {kept} classes, but there are {classes}."
        )
    known = kept if first.indices is None else classes
    places = None if positions is None else positions.argsort()
    return OfficialLabels(folder, resolution, kept, known, layout, first, places)


def _flat(folder: Path, files: list[Path], images: int) -> _Layout:
    rows = _json(folder / BATCH_IMAGES, len(files), images)
    if len(rows) > len(files):
        raise ArtefactError(f"{str(folder)!r} lacks batch_{len(files)}.tar.")
    return _Layout("LPQLD", None, files, [len(row) for row in rows], rows.__getitem__)


def _by_epoch(folder: Path, epochs: list[Path], images: int, batch_size: int | None) -> _Layout:
    inside = [_numbered(epoch, BATCH) for epoch in epochs]
    size = batch_size or len(read_parts(epochs[0] / "batch_0.tar"))
    form, order, shown = "SRe2L", _Replay(images).order, [images] * len(epochs)
    if (folder / EPOCH_ORDERS).is_file():
        form, rows = "LPLD", _orders(folder / EPOCH_ORDERS, len(epochs), images, size)
        order, shown = rows.__getitem__, [len(row) for row in rows]
    for epoch, files, count in zip(epochs, inside, shown[: len(epochs)], strict=True):
        full = -(-count // size)
        # All batches, or all but an incomplete one; the last epoch may have been cut short.
        whole = 0 < len(files) == len(inside[0]) and len(files) in (count // size, full)
        if not whole and not (epoch == epochs[-1] and 0 < len(files) <= full):
            raise ArtefactError(
                f"{str(epoch)!r} holds {len(files)} batches, but {count} images in batches of "
                f"{size} make {full}."
            )
    places = [(epoch, size * b) for epoch, files in enumerate(inside) for b in range(len(files))]

    def images_of(number: int) -> Tensor:
        epoch, start = places[number]
        return order(epoch)[start : start + size]

    sizes = [min(size, shown[epoch] - start) for epoch, start in places]
    # A single epoch may have been cut short.
    each = len(inside[0]) if len(epochs) > 1 else -(-shown[0] // size)
    return _Layout(form, each, [file for files in inside for file in files], sizes, images_of)


def _orders(file: Path, epochs: int, images: int, size: int) -> list[Tensor]:
    """LPLD's orders of at least so many epochs, in batches of `size`.

    Of all images, or without those of an incomplete batch; the last one only of the batches that
    were stored, if it is not the first.
    """
    rows = _json(file, epochs, images)
    for epoch, count in enumerate(map(len, rows)):
        cut = 0 < epoch == len(rows) - 1 and count <= images and count % size == 0
        if count not in (images, images - images % size) and not cut:
            raise ArtefactError(
                f"{str(file)!r} orders {count} images under {epoch}, but there are {images}, and "
                f"batches of {size}."
            )
    return rows


class _Replay:
    """The orders of SRe2L's epochs, drawn as its script draws them: one after another."""

    def __init__(self, images: int) -> None:
        self._generator = torch.Generator().manual_seed(SEED)
        self._sampler = RandomSampler(range(images), generator=self._generator)
        self._states = [self._generator.get_state()]  # before each epoch
        self._last = (-1, torch.empty(0, dtype=torch.int64))

    def order(self, epoch: int) -> Tensor:
        """The images of an epoch, int64 (images,)."""
        while len(self._states) <= epoch:
            self._draw(len(self._states) - 1)
        if self._last[0] != epoch:
            self._draw(epoch)
        return self._last[1]

    def _draw(self, epoch: int) -> None:
        self._generator.set_state(self._states[epoch])
        self._last = (epoch, torch.tensor(list(self._sampler)))
        if epoch + 1 == len(self._states):
            self._states.append(self._generator.get_state())


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """The entries of a folder whose names fit, by number; they must count from 0."""
    matches = [(re.fullmatch(pattern, path.name), path) for path in folder.glob("*_*")]
    found = {int(match[1]): path for match, path in matches if match}
    for number in range(len(found)):
        if number not in found:
            kind = short(found[max(found)].name)
            raise ArtefactError(f"{str(folder)!r} has {kind}, but lacks number {number}.")
    return [found[number] for number in range(len(found))]


def _json(file: Path, count: int, images: int) -> list[Tensor]:
    """The image numbers that a JSON object has for keys 0 to at least `count` - 1."""
    if not file.exists():
        raise ArtefactError(f"{str(file.parent)!r} lacks {file.name}.")
    try:
        rows = _rows(bounded.read(file, MOST_BYTES))
    except UserError as error:
        raise ArtefactError(f"{str(file)!r} is damaged: {error}.") from error
    for key in range(max(count, len(rows))):
        if key not in rows:
            raise ArtefactError(f"{str(file)!r} has no images for number {key}.")
    for key, row in rows.items():
        if not 0 <= int(row.min()) <= int(row.max()) < images:
            raise ArtefactError(
                f"{str(file)!r} names images {int(row.min())} to {int(row.max())} under {key}, "
                f"but there are {images} images."
            )
    return [rows[key] for key in range(len(rows))]


def _rows(raw: bytes) -> dict[int, Tensor]:
    """Image numbers by the number of their epoch or batch."""
    table = bounded.plain(raw)
    if not isinstance(table, dict):
        raise UserError("it is no object")
    rows = {}
    for key, row in table.items():
        match = re.fullmatch(KEY, key)
        if match is None or int(match[1]) in rows:
            raise UserError(f"{short(key)!r} names no epoch or batch, or one twice")
        rows[int(match[1])] = _row(row)
    return rows


def _row(row: Any) -> Tensor:
    """Image numbers, given in one list or in one a batch."""
    if isinstance(row, list) and row and isinstance(row[0], list):
        row = [image for batch in row if isinstance(batch, list) for image in batch]
    try:
        numbers = np.asarray(row)
    except ValueError:
        numbers = np.empty(0)
    if numbers.ndim != 1 or numbers.dtype.kind != "i" or not len(numbers):
        raise UserError("a list of image numbers holds something else, or nothing")
    return torch.from_numpy(numbers)
