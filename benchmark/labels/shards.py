"""One safetensors file, written in streaming.

The format is written here because the library's writer needs all tensors in memory: eight bytes
of header length, a JSON header of dtype, shape and offsets, then the data.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .writer import Stored

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
class Part:
    """Numbers `start` to `stop` of a flat tensor, under a name in a shard."""

    name: str
    flat: Tensor | Stored
    start: int
    stop: int

    @property
    def bytes(self) -> int:
        """That it takes in a shard."""
        return (self.stop - self.start) * self.flat.dtype.itemsize


def ordered(parts: Iterable[Part]) -> list[Part]:
    """Widest types first, so that every tensor starts where its type may be read in place."""
    return sorted(parts, key=lambda part: -part.flat.dtype.itemsize)


def header(parts: Iterable[Part]) -> bytes:
    """What stands before the data of these parts, in their order."""
    told, offset = {}, 0
    for part in parts:
        told[part.name] = {
            "dtype": DTYPES[part.flat.dtype],
            "shape": [part.stop - part.start],
            "data_offsets": [offset, offset + part.bytes],
        }
        offset += part.bytes
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_shard(file: Path, parts: list[Part]) -> dict[str, Any]:
    """Write the file; returns its bytes and SHA-256."""
    parts = ordered(parts)
    sha = hashlib.sha256()
    with file.open("wb") as handle:

        def put(data: Any) -> None:
            handle.write(data)
            sha.update(data)

        put(header(parts))
        for part in parts:
            step = CHUNK_BYTES // part.flat.dtype.itemsize
            for start in range(part.start, part.stop, step):
                chunk = part.flat[start : min(part.stop, start + step)]
                put(chunk.cpu().view(torch.uint8).numpy())
        handle.flush()
        os.fsync(handle.fileno())
        return {"bytes": handle.tell(), "sha256": sha.hexdigest()}
