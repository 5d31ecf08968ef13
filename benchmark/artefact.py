"""Artefacts on disk: exactly what has to be shipped, and nothing that runs code.

A folder holds `labels.json` (what it is, for which images, SHA-256 and bytes of each shard)
and safetensors shards of at most 256 MiB, written in streaming and read by memory map.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import ArtefactError
from .ledger import KINDS, Kind, Ledger
from .spool import Stored
from .stages import file_digest

FORMAT = 1
MANIFEST = "labels.json"
SHARD_BYTES = 256 * 2**20
MEND = "Copy it again, or delete its folder to have it made anew."
CHUNK_BYTES = 8 * 2**20
DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Blob:
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


@dataclass(frozen=True)
class Artefact:
    """A verified folder: its manifest, and its tensors by name."""

    folder: Path
    manifest: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def ledger(self) -> Ledger:
        """The folder's bytes as they lie on disk."""
        return measure(self.folder, self.manifest)


def write(folder: Path, manifest: dict[str, Any], blobs: Iterable[Blob]) -> None:
    """Write an artefact into the existing, empty `folder`; the manifest comes last."""
    described: dict[str, Any] = {}
    shards: list[dict[str, Any]] = []
    for number, parts in enumerate(_shards(blobs, described)):
        file = folder / f"labels-{number:05}.safetensors"
        shards.append({"file": file.name, **_write_shard(file, parts)})
    document = {"format": FORMAT, **manifest, "blobs": described, "shards": shards}
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Artefact:
    """Open an artefact and check every byte of it.

    Raises:
        ArtefactError: no artefact, another format version, or a shard that is missing,
            truncated or altered.
    """
    manifest = read_manifest(folder)
    parts: dict[str, list[Tensor]] = {name: [] for name in manifest["blobs"]}
    for shard in manifest["shards"]:
        file = folder / shard["file"]
        if not file.is_file():
            raise ArtefactError(f"{str(folder)!r} lacks its shard {shard['file']}.")
        size = file.stat().st_size
        if size != shard["bytes"]:
            raise ArtefactError(
                f"Shard {str(file)!r} has {size} bytes where its manifest says "
                f"{shard['bytes']}: it is truncated or was changed. {MEND}"
            )
        if (found := file_digest(file)) != shard["sha256"]:
            raise ArtefactError(
                f"Shard {str(file)!r} is damaged: its SHA-256 is {found[:16]}…, the manifest "
                f"says {shard['sha256'][:16]}…. {MEND}"
            )
        try:
            with safe_open(file, framework="pt") as handle:
                for key in handle.keys():  # noqa: SIM118 (safe_open is no mapping)
                    parts[key.partition("#")[0]].append(handle.get_tensor(key))
        except (SafetensorError, KeyError) as error:
            raise ArtefactError(f"Shard {str(file)!r} cannot be read: {error}.") from error
    tensors = {
        name: (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).view(
            manifest["blobs"][name]["shape"]
        )
        for name, pieces in parts.items()
    }
    return Artefact(folder, manifest, tensors)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest alone, format version checked.

    Raises:
        ArtefactError: there is none, it is no JSON, or of another format version.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version, _, _ = manifest["format"], manifest["blobs"], manifest["shards"]
    except FileNotFoundError as error:
        raise ArtefactError(f"{str(folder)!r} is no artefact: it has no {MANIFEST}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{str(folder / MANIFEST)!r} is damaged: {error}.") from error
    if version != FORMAT:
        raise ArtefactError(
            f"{str(folder)!r} has format version {version}; this labelbench reads {FORMAT}."
        )
    return manifest


def measure(folder: Path, manifest: dict[str, Any]) -> Ledger:
    """The ledger of a folder: blob bytes by kind, everything else as container."""
    kinds = dict.fromkeys(KINDS, 0)
    parameters = 0
    for blob in manifest["blobs"].values():
        kinds[blob["kind"]] += blob["bytes"]
        if blob["kind"] == "weights":
            parameters += blob.get("numbers", torch.Size(blob["shape"]).numel())
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    requires = manifest.get("requires", {})
    return Ledger(
        **kinds,
        container=sum(sizes) - sum(kinds.values()),
        parameters=parameters,
        blocks=sum(-(-size // 4096) * 4096 for size in sizes),
        prior=requires.get("prior", {}).get("bytes", 0),
        teacher=requires.get("teacher", {}).get("bytes", 0),
    )


@dataclass(frozen=True)
class _Part:
    """Numbers `start` to `stop` of a flat tensor, under a name in a shard."""

    name: str
    flat: Tensor | Stored
    start: int
    stop: int

    @property
    def bytes(self) -> int:
        return (self.stop - self.start) * self.flat.dtype.itemsize


def _shards(blobs: Iterable[Blob], described: dict[str, Any]) -> Iterator[list[_Part]]:
    """Group blobs into shards, cutting those that do not fit; notes each in `described`."""
    shard: list[_Part] = []
    room = SHARD_BYTES
    for blob in blobs:
        tensor, count = blob.tensor, blob.tensor.shape.numel()
        flat = tensor.detach().reshape(-1) if isinstance(tensor, Tensor) else tensor.flat()
        size = count * tensor.dtype.itemsize
        if blob.name in described or "#" in blob.name:
            raise ValueError(f"blob name {blob.name!r} is taken or holds '#'")
        described[blob.name] = {"kind": blob.kind, "shape": list(tensor.shape), "bytes": size}
        if blob.numbers is not None:
            described[blob.name]["numbers"] = blob.numbers
        if size > room and shard:
            yield shard
            shard, room = [], SHARD_BYTES
        if size <= SHARD_BYTES:
            shard.append(_Part(blob.name, flat, 0, count))
            room -= size
            continue
        step = SHARD_BYTES // tensor.dtype.itemsize
        for number, start in enumerate(range(0, count, step)):
            yield [_Part(f"{blob.name}#{number}", flat, start, min(count, start + step))]
    if shard:
        yield shard


def _write_shard(file: Path, parts: list[_Part]) -> dict[str, Any]:
    """Write one safetensors file; returns its bytes and SHA-256.

    The format is written here because the library's writer needs all tensors in memory: eight
    bytes of header length, a JSON header of dtype, shape and offsets, then the data.
    """
    # Widest types first, so that every tensor starts where its type may be read in place.
    parts = sorted(parts, key=lambda part: -part.flat.dtype.itemsize)
    header, offset = {}, 0
    for part in parts:
        header[part.name] = {
            "dtype": DTYPES[part.flat.dtype],
            "shape": [part.stop - part.start],
            "data_offsets": [offset, offset + part.bytes],
        }
        offset += part.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    sha = hashlib.sha256()
    with file.open("wb") as handle:

        def put(data: Any) -> None:
            handle.write(data)
            sha.update(data)

        put(len(text).to_bytes(8, "little"))
        put(text)
        for part in parts:
            step = CHUNK_BYTES // part.flat.dtype.itemsize
            for start in range(part.start, part.stop, step):
                chunk = part.flat[start : min(part.stop, start + step)]
                put(chunk.cpu().view(torch.uint8).numpy())
        handle.flush()
        os.fsync(handle.fileno())
        return {"bytes": handle.tell(), "sha256": sha.hexdigest()}
