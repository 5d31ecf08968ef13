"""Streamed images: pictures that stay encoded on disk, and are decoded batch by batch.

What is in memory does not grow with their number but for a few bytes each of index: some batches
of pixels, and the encoded pictures of one window where they lie in groups.
"""

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..core.cache import Cache
from ..core.facts import fact
from ..core.files import digest
from ..core.progress import say
from .images import Encoded, Images, Statistics, pixel_statistics
from .jpeg import DECODER, decode_streamed
from .picture_index import PictureIndex
from .views import ORDER, permutation, random_words

AHEAD = 2  # batches that are decoded before they are asked for
NEIGHBOURS = 16  # pictures of one file that are read one after another
WINDOW = 4096  # pictures that are shuffled together
SAMPLED = 4096  # pictures that statistics are taken of


class Pictures(ABC):
    """The encoded pictures of an index; read by several threads at once.

    Attributes:
        index: where they lie.
        run: pictures that lie one after another and are better read so.
    """

    run = 1

    def __init__(self, index: PictureIndex) -> None:
        self.index = index

    @abstractmethod
    def read(self, row: int) -> Encoded:
        """The encoded picture of a row.

        Raises:
            UserError: it is not there; names file and row.
        """

    def starts(self) -> np.ndarray:
        """The first picture of each run that is read one after another, and their number."""
        if self.index.groups is not None:
            return self.index.groups
        return np.append(np.arange(0, len(self.index), self.run), len(self.index))


class StreamedImages(Images):
    """Images that are decoded as they are asked for; in threads, as decoding leaves Python.

    Args:
        labels: int64 (N,), those of the index by default.
        workers: threads that decode; 0 decodes in the caller's, None is as many as torch has.
    """

    def __init__(
        self,
        pictures: Pictures,
        class_names: Sequence[str],
        resolution: int,
        labels: Tensor | None = None,
        workers: int | None = None,
    ) -> None:
        self.pictures = pictures
        self.labels = pictures.index.labels if labels is None else labels
        self.class_names = tuple(class_names)
        self.channels, self.resolution = 3, resolution
        self.workers = torch.get_num_threads() if workers is None else workers
        sha = hashlib.sha256(f"{pictures.index.content} {resolution} {DECODER}\n".encode())
        sha.update(self.labels.numpy().data)
        self.digest = sha.hexdigest()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, "decode")

    def take(self, indices: Tensor) -> Tensor:
        return next(self.batches([indices]))

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """`take` of each, in turn, while the next ones are decoded."""
        begun: deque[_Begun] = deque()
        try:
            for rows in indices:
                begun.append(self._begin(rows))
                if len(begun) > (AHEAD if self.workers else 0):
                    yield begun.popleft().whole()
            while begun:
                yield begun.popleft().whole()
        finally:
            for batch in begun:
                batch.drop()

    def _begin(self, rows: Tensor) -> "_Begun":
        shape = (len(rows), self.channels, self.resolution, self.resolution)
        begun = _Begun(torch.empty(shape, dtype=torch.uint8), [])
        for at, row in enumerate(rows.tolist()):
            if self.workers:
                begun.parts.append(self._pool.submit(self._decode, begun.pixels, at, row))
            else:
                self._decode(begun.pixels, at, row)
        return begun

    def _decode(self, into: Tensor, at: int, row: int) -> None:
        into[at] = decode_streamed(self.pictures.read(row), self.resolution)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Runs of neighbours in random order, then all of each window of them shuffled.

        By seed and epoch alone. Runs come from all over the set, so that a batch of a set that is
        sorted by class shows many of them.
        """
        starts = self.pictures.starts()
        runs = permutation(random_words(seed, epoch, 0, ORDER, len(starts) - 1))
        lengths = np.diff(starts)[runs]
        rows = np.repeat(starts[runs] - (np.cumsum(lengths) - lengths), lengths)
        rows += np.arange(len(rows))
        for number, start in enumerate(range(0, len(rows), WINDOW)):
            window = rows[start : start + WINDOW]
            window[:] = window[
                permutation(random_words(seed, epoch, 1 + number, ORDER, len(window)))
            ]
        return rows


@dataclass
class _Begun:
    """A batch whose pictures are being decoded into `pixels`."""

    pixels: Tensor
    parts: list[Future[None]]

    def whole(self) -> Tensor:
        try:
            for part in self.parts:
                part.result()
        except BaseException:
            self.drop()
            raise
        return self.pixels

    def drop(self) -> None:
        for part in self.parts:
            part.cancel()


def too_large(cache: Cache, images: int, channels: int, resolution: int, where: str) -> bool:
    """Whether so many images are streamed: decoded, they would not fit into `cache`; says so."""
    size = images * channels * resolution * resolution
    if size <= cache.most:
        return False
    say(
        f"{where}: {images:,} images of {resolution} pixels, decoded {size / 1e9:.2f} GB, are more "
        f"than the {cache.most / 1e9:g} GB that are kept: they are decoded as they are read"
    )
    return True


def sampled_statistics(images: Images, cache: Cache) -> Statistics:
    """Mean and standard deviation per channel in 0..1, of a few thousand images evenly spaced."""

    def find() -> list[list[float]]:
        count = min(SAMPLED, len(images))
        rows = torch.arange(count) * len(images) // count
        pixels = torch.cat(list(images.batches(rows.split(256))))
        return pixel_statistics(pixels).tolist()

    follows = [images.digest, SAMPLED]
    mean, std = fact(cache, "sampled-statistics", follows, find) or [[float("nan")] * 3] * 2
    return tuple(mean), tuple(std)


def key_of(files: Iterable[tuple[str, int, int]], **more: object) -> dict[str, object]:
    """What decides an index: each shard's path, size and time, and `more`."""
    return {"shards": digest([list(each) for each in files]), "index": 1, **more}
