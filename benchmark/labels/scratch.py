"""Tensors that a fit works on: in memory where they are small, else in files that are mapped.

Pages of such a file go to disk and come back as memory is wanted for other things, so a fit over
more images needs room on disk and not in memory. What is worked out of them is worked out in
chunks, so that no more than those is held beside them.
"""

import tempfile
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from ..core.files import hold

RESIDENT_BYTES = 2**22  # that a tensor takes in memory, at most
CHUNK_BYTES = 2**20  # that are worked on at once, in a core's own cache


def scratch_tensor(folder: Path | None, dtype: torch.dtype, *shape: int) -> Tensor:
    """Zeros of this shape on the CPU.

    Args:
        folder: where they lie if they are large; without, they are in memory. The file has no name
            once it is mapped, and goes with the tensor.

    Raises:
        OSError: the disk has no room for them.
    """
    size = prod(shape)
    if folder is None or size * dtype.itemsize <= RESIDENT_BYTES:
        return torch.zeros(shape, dtype=dtype)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="scratch-") as file:
        file.truncate(size * dtype.itemsize)
        hold(Path(file.name))
        return torch.from_file(file.name, True, size, dtype=dtype).view(shape)


def chunks(rows: int, row_bytes: int) -> Iterator[slice]:
    """All rows, as many at a time as `CHUNK_BYTES` hold."""
    each = max(1, CHUNK_BYTES // row_bytes)
    return (slice(start, min(start + each, rows)) for start in range(0, rows, each))
