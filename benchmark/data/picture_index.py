"""Where each picture of a large set lies, and its label: a small index on disk.

Memory-mapped numbers, so that a set of ten million pictures costs pages that the system may drop.
A picture is known by its shard (a class folder, a tar, a table) and two numbers in it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.cache import Cache
from ..core.files import write_atomic

TOLD, LABELS, PLACES, NAMES = "index.json", "labels.bin", "places.bin", "names.bin"
_temporary: list[TemporaryDirectory[str]] = []  # indices of a run that writes nothing


class IndexWriter:
    """Writes an index shard by shard; nothing is held but the shard that is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = {name: (folder / name).open("wb") for name in (LABELS, PLACES, NAMES)}
        self._shards: list[str] = []
        self._counts: list[int] = []
        self._groups: list[int] = []
        self._named = 0
        self._sha = hashlib.sha256()

    def add(
        self,
        shard: str,
        labels: Sequence[int] | np.ndarray,
        places: np.ndarray,
        identity: bytes,
        groups: Sequence[int] = (),
    ) -> None:
        """The pictures of a shard.

        Args:
            shard: its path below the set's folder.
            labels: of its pictures, (n,).
            places: int64 (n, 2), for who reads them.
            identity: names and sizes of its pictures, which the set's digest covers.
            groups: how many pictures must be read together, one after another; any may be read
                alone if empty.
        """
        np.asarray(labels, np.int64).tofile(self._files[LABELS])
        np.ascontiguousarray(places, np.int64).tofile(self._files[PLACES])
        self._sha.update(identity)
        self._shards.append(shard)
        self._counts.append(len(labels))
        self._groups += groups

    def name(self, name: str) -> tuple[int, int]:
        """Keep a file's name; returns where it stands."""
        raw = name.encode("utf-8", "surrogateescape")
        self._files[NAMES].write(raw)
        self._named += len(raw)
        return self._named - len(raw), len(raw)

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def finish(self, classes: Sequence[str]) -> None:
        """Say what there is, of a set of these classes, as they are called in it."""
        told = {
            "shards": self._shards,
            "counts": self._counts,
            "groups": self._groups,
            "classes": list(classes),
            "content": self._sha.hexdigest(),
        }
        write_atomic(self.folder / TOLD, json.dumps(told).encode())


@dataclass(frozen=True)
class PictureIndex:
    """An index as it is read.

    Attributes:
        root: what the shards' paths are below.
        shards: their paths.
        starts: the first picture of each shard, and the number of all, int64 (S + 1,).
        labels: int64 (N,), memory-mapped.
        places: where each picture lies in its shard, int64 (N, 2), memory-mapped.
        names: bytes of files' names, memory-mapped.
        groups: the first picture of each group that is read together, and the number of all; None
            where any may be read alone.
        classes: what the classes are called in the set, by label.
        content: SHA-256 of names and sizes.
    """

    root: Path
    shards: list[str]
    starts: np.ndarray
    labels: Tensor
    places: np.ndarray
    names: np.ndarray
    groups: np.ndarray | None
    classes: list[str]
    content: str

    def __len__(self) -> int:
        return len(self.labels)

    def shard_of(self, row: int) -> tuple[int, int]:
        """The number of the shard that holds a picture, and the picture's row in it."""
        shard = int(np.searchsorted(self.starts, row, side="right")) - 1
        return shard, row - int(self.starts[shard])

    def path(self, shard: int) -> Path:
        """A shard's file or folder."""
        return self.root / self.shards[shard]

    def name(self, row: int) -> str:
        """The file name of a picture that is a file of its own."""
        start, length = self.places[row].tolist()
        return self.names[start : start + length].tobytes().decode("utf-8", "surrogateescape")


def index(
    cache: Cache, key: Mapping[str, Any], root: Path, build: Callable[[IndexWriter], Sequence[str]]
) -> PictureIndex:
    """The index of a set, made once.

    Where `cache` is only looked at, it is made in a temporary folder of this process.

    Args:
        key: what decides it: the shards, with sizes and times.
        root: what the shards' paths are below.
        build: adds every shard, and returns the classes' names.
    """

    def made(folder: Path) -> None:
        with IndexWriter(folder) as writer:
            writer.finish(build(writer))

    if cache.look_only and not cache.done("index", key):
        _temporary.append(TemporaryDirectory(prefix="labelbench-index-"))
        folder = Path(_temporary[-1].name)
        made(folder)
    else:
        folder = cache.make("index", key, made)
    told = json.loads((folder / TOLD).read_bytes())
    groups = np.cumsum([0, *told["groups"]]) if told["groups"] else None
    return PictureIndex(
        root,
        told["shards"],
        np.cumsum([0, *told["counts"]]),
        torch.from_numpy(_mapped(folder / LABELS, np.int64)),
        _mapped(folder / PLACES, np.int64).reshape(-1, 2),
        _mapped(folder / NAMES, np.uint8),
        groups,
        told["classes"],
        told["content"],
    )


def _mapped(file: Path, kind: Any) -> np.ndarray:
    if not file.stat().st_size:  # which cannot be mapped
        return np.zeros(0, kind)
    return np.memmap(file, kind, mode="c")
