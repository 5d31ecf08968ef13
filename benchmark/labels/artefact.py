"""Artefacts on disk: exactly what has to be shipped, and nothing that runs code.

A folder holds `labels.json` (see `manifest`) and safetensors shards of at most 256 MiB, written
in streaming and read by memory map; or, where that is little, all in one file (see `packed`).
Nothing else, and nothing outside it is opened.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core import bounded
from ..core.errors import ArtefactError, UserError
from ..core.files import file_digest
from ..core.options import build
from ..records.ledger import KINDS, Kind, Ledger
from . import manifest, packed
from .manifest import Manifest
from .shards import DTYPES, Part, header, ordered, write_shard
from .writer import Stored

MANIFEST = "labels.json"
SHARD_BYTES = 256 * 2**20
HEADER_BYTES = 2 * manifest.MOST_BYTES  # of a shard, at most
MEND = "Copy it again, or delete its folder to have it made anew."
SETTLED_NS = 2 * 10**9  # file systems tell times apart that are so far apart
T = TypeVar("T")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of an artefact.

    Attributes:
        name: unique in the artefact.
        kind: the ledger's column that its bytes belong to.
        tensor: of any shape, in memory or on disk; it is written a chunk at a time.
        numbers: how many it stands for, where packing hides that, or where it only scales
            others; the ledger's `parameters` counts them.
    """

    name: str
    kind: Kind
    tensor: Tensor | Stored
    numbers: int | None = None

    @property
    def bytes(self) -> int:
        """That it takes."""
        return self.tensor.shape.numel() * self.tensor.dtype.itemsize


@dataclass(frozen=True)
class Artefact:
    """A verified folder: its manifest, and its tensors by name."""

    folder: Path
    manifest: Manifest
    tensors: dict[str, Tensor]

    @property
    def ledger(self) -> Ledger:
        """The folder's bytes as they lie on disk."""
        return measure(self.folder, self.manifest)

    def extra(self, kind: type[T]) -> T:
        """What the method added to the manifest, as the dataclass `kind`.

        Raises:
            UserError: a field is missing, unknown, or of another type.
        """
        return build(kind, self.manifest["extra"], f"{MANIFEST}: extra")


def write(folder: Path, described: Mapping[str, Any], tensors: Iterable[StoredTensor]) -> None:
    """Write an artefact into the existing, empty `folder`; the manifest comes last.

    Args:
        described: the manifest without `format`, `tensors` and `shards`.

    Raises:
        UserError: no reader would take the manifest.
    """
    few, rest = _few(tensors)
    if rest is None:
        parts = [t if isinstance(t, Tensor) else t[:] for t in (stored.tensor for stored in few)]
        _write(folder / packed.FILE, packed.dump(_packed(described, few), parts))
        return
    told: dict[str, Any] = {}
    shards = [
        write_shard(folder / _shard_name(number), parts)
        for number, parts in enumerate(_shards(chain(few, rest), told))
    ]
    _write(folder / MANIFEST, manifest.dump(_whole_manifest(described, told, shards)))


def container_bytes(
    described: Mapping[str, Any], tensors: Sequence[StoredTensor], most: int
) -> int:
    """What manifest and headers take of an artefact of these tensors, whose values do not matter.

    Args:
        described: as `write` takes it.
        tensors: may be on torch's `meta` device.
        most: bytes that all tensors take at most, which decides the form.
    """
    if most <= packed.MOST_BYTES:
        return len(packed.head(_packed(described, tensors))) + packed.SEAL_BYTES
    told: dict[str, Any] = {}
    parts = [ordered(shard) for shard in _shards(tensors, told)]
    headers = [len(header(shard)) for shard in parts]
    shards = [
        {"bytes": size + sum(part.bytes for part in shard), "sha256": "0" * 64}
        for size, shard in zip(headers, parts, strict=True)
    ]
    return len(manifest.dump(_whole_manifest(described, told, shards))) + sum(headers)


def read(folder: Path) -> Artefact:
    """Open an artefact and check every byte of it.

    Bytes that this process has checked before are known by their file's size and time.

    Raises:
        ArtefactError: no artefact, another format version, a file that does not belong to it,
            or a shard that is missing, truncated or altered.
    """
    if (folder / packed.FILE).exists():
        found, tensors = _unpacked(folder)
        _sizes(folder, found)
        return Artefact(folder, found, tensors)
    told = read_manifest(folder)
    _sizes(folder, told)
    parts: dict[str, list[Tensor]] = {name: [] for name in told["tensors"]}
    for number, shard in enumerate(told["shards"]):
        file = folder / _shard_name(number)
        if (found := _digest(file)) != shard["sha256"]:
            raise ArtefactError(
                f"Shard {str(file)!r} is damaged: its SHA-256 is {found[:16]}…, the manifest "
                f"says {shard['sha256'][:16]}…. {MEND}"
            )
        try:
            with safe_open(file, framework="pt") as handle:
                for key in handle.keys():  # noqa: SIM118 (safe_open is no mapping)
                    parts[key.partition("#")[0]].append(handle.get_tensor(key))
        except (SafetensorError, KeyError, OSError, AttributeError, TypeError) as error:
            raise ArtefactError(f"Shard {str(file)!r} cannot be read: {error}.") from error
    return Artefact(folder, told, {n: _whole(folder, told, n, p) for n, p in parts.items()})


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone: sealed, of this format, and within bounds.

    Raises:
        ArtefactError: it is not.
    """
    if (folder / packed.FILE).exists():
        return _unpacked(folder)[0]
    if not (folder / MANIFEST).exists():
        raise ArtefactError(
            f"{str(folder)!r} is no artefact: it has neither {MANIFEST} nor {packed.FILE}."
        )
    return _parsed(folder / MANIFEST, manifest.MOST_BYTES, manifest.parse)


def present(folder: Path) -> bool:
    """Whether a folder holds an artefact, sound or not."""
    return any((folder / name).is_file() for name in (MANIFEST, packed.FILE))


def packed_places(folder: Path, told: Manifest) -> dict[str, tuple[int, torch.dtype]] | None:
    """Where each tensor begins in the one file of a packed artefact, and its type; else None."""
    if told["format"] != packed.FORMAT:
        return None
    return packed.places(told, (folder / packed.FILE).stat().st_size)


def measure(folder: Path, told: Manifest) -> Ledger:
    """The ledger of a folder: stored bytes by kind, everything else as container.

    Raises:
        ArtefactError: its files are not those of the manifest.
    """
    sizes = _sizes(folder, told)
    kinds = dict.fromkeys(KINDS, 0)
    parameters = 0
    for stored in told["tensors"].values():
        kinds[stored["kind"]] += stored["bytes"]
        if stored["kind"] == "weights":
            parameters += stored.get("numbers", prod(stored["shape"]))
    requires = {name: needed["bytes"] for name, needed in told["requires"].items()}
    return Ledger(
        **kinds,
        container=sum(sizes) - sum(kinds.values()),
        parameters=parameters,
        blocks=sum(-(-size // 4096) * 4096 for size in sizes),
        prior=requires.get("prior", 0),
        teacher=requires.get("teacher", 0),
    )


def _few(
    tensors: Iterable[StoredTensor],
) -> tuple[list[StoredTensor], Iterator[StoredTensor] | None]:
    """All tensors where they may be packed, and None; else the first ones, and the others."""
    few, size, rest = list[StoredTensor](), 0, iter(tensors)
    for stored in rest:
        few.append(stored)
        size += stored.bytes
        if size > packed.MOST_BYTES:
            return few, rest
    return few, None


def _whole_manifest(
    described: Mapping[str, Any], told: Mapping[str, Any], shards: Sequence[Mapping[str, Any]]
) -> Any:
    return {"format": manifest.FORMAT, **described, "tensors": told, "shards": shards}


def _packed(described: Mapping[str, Any], tensors: Iterable[StoredTensor]) -> dict[str, Any]:
    """The manifest of a packed artefact."""
    told: dict[str, Any] = {}
    for stored in tensors:
        _tell(stored, told)
        told[stored.name]["dtype"] = DTYPES[stored.tensor.dtype]
    return {**described, "tensors": told}


def _write(file: Path, raw: bytes) -> None:
    with file.open("wb") as handle:
        handle.write(raw)
        handle.flush()
        os.fsync(handle.fileno())


def _unpacked(folder: Path) -> tuple[Manifest, dict[str, Tensor]]:
    return _parsed(folder / packed.FILE, packed.LONGEST_FILE, packed.parse)


def _parsed(file: Path, most: int, parse: Callable[[bytes], T]) -> T:
    """What a plain file of at most so many bytes says."""
    _regular(file)
    try:
        return parse(bounded.read(file, most))
    except ArtefactError as error:
        raise ArtefactError(f"{str(file)!r}: {error}.") from error
    except UserError as error:
        raise ArtefactError(f"{str(file)!r} is damaged: {error}. {MEND}") from error


def _shard_name(number: int) -> str:
    return f"labels-{number:05}.safetensors"


def _regular(file: Path) -> int:
    """The size of a file that is none but in name elsewhere, or no file at all."""
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ArtefactError(f"{str(file)!r} is no plain file; an artefact holds nothing else.")
    return status.st_size


def _sizes(folder: Path, told: Manifest) -> list[int]:
    """The sizes of a folder's files, which must be the manifest's shards and itself alone."""
    main = packed.FILE if told["format"] == packed.FORMAT else MANIFEST
    names = {_shard_name(number): shard["bytes"] for number, shard in enumerate(told["shards"])}
    for path in folder.iterdir():
        if path.name != main and path.name not in names:
            raise ArtefactError(
                f"{str(folder)!r} holds {bounded.short(path.name)!r}, which is not of the "
                "artefact: take it away."
            )
    sizes = [_regular(folder / main)]
    for name, told_bytes in names.items():
        file = folder / name
        if not os.path.lexists(file):
            raise ArtefactError(f"{str(folder)!r} lacks its shard {name}.")
        size = _regular(file)
        if size > SHARD_BYTES + HEADER_BYTES:
            raise ArtefactError(f"Shard {str(file)!r} has {size:,} bytes, more than any shard has.")
        if size != told_bytes:
            raise ArtefactError(
                f"Shard {str(file)!r} has {size} bytes where its manifest says {told_bytes}: it is "
                f"truncated or was changed. {MEND}"
            )
        sizes.append(size)
    return sizes


_known: dict[Path, tuple[tuple[int, int, int], str]] = {}


def _digest(file: Path) -> str:
    """SHA-256 (hex) of a file, computed once a process unless its size or time changes."""
    status, place = file.stat(), file.absolute()
    stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
    if place in _known and _known[place][0] == stamp:
        return _known[place][1]
    found = file_digest(file)
    if time.time_ns() - status.st_mtime_ns > SETTLED_NS:  # else it may change at the same time
        _known[place] = (stamp, found)
    return found


def _whole(folder: Path, told: Manifest, name: str, parts: list[Tensor]) -> Tensor:
    """The tensor that lies in these parts, as the manifest describes it."""
    stored = told["tensors"][name]
    dtypes = {part.dtype for part in parts}
    numbers = sum(part.numel() for part in parts)
    fits = len(dtypes) == 1 and dtypes <= DTYPES.keys() and all(part.ndim == 1 for part in parts)
    if (
        not fits
        or numbers != prod(stored["shape"])
        or sum(p.nbytes for p in parts) != stored["bytes"]
    ):
        raise ArtefactError(
            f"The shards of {str(folder)!r} do not hold what the manifest says of "
            f"{bounded.short(name)!r}."
        )
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(stored["shape"])


def _shards(tensors: Iterable[StoredTensor], described: dict[str, Any]) -> Iterator[list[Part]]:
    """Group tensors into shards, cutting those that do not fit; notes each in `described`."""
    shard: list[Part] = []
    room = SHARD_BYTES
    for stored in tensors:
        tensor, count, size = stored.tensor, stored.tensor.shape.numel(), stored.bytes
        flat = tensor.detach().reshape(-1) if isinstance(tensor, Tensor) else tensor.flat()
        _tell(stored, described)
        if size > room and shard:
            yield shard
            shard, room = [], SHARD_BYTES
        if size <= SHARD_BYTES:
            shard.append(Part(stored.name, flat, 0, count))
            room -= size
            continue
        step = SHARD_BYTES // tensor.dtype.itemsize
        for number, start in enumerate(range(0, count, step)):
            yield [Part(f"{stored.name}#{number}", flat, start, min(count, start + step))]
    if shard:
        yield shard


def _tell(stored: StoredTensor, described: dict[str, Any]) -> None:
    """Note a tensor in the manifest's table."""
    if stored.name in described or "#" in stored.name or stored.name == "__metadata__":
        raise ValueError(f"tensor name {stored.name!r} is taken or holds '#'")
    shape = list(stored.tensor.shape)
    described[stored.name] = {"kind": stored.kind, "shape": shape, "bytes": stored.bytes}
    if stored.numbers is not None:
        described[stored.name]["numbers"] = stored.numbers
