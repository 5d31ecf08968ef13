"""Coefficients as bytes: rounded, and range-coded by models that adapt as they go.

Rows go by in blocks, so that of a large function neither coefficients nor code need be in memory:
the code is cut into streams of so many coefficients, each a tensor of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.errors import ArtefactError, UserError
from .artefact import Artefact
from .range_coding import MOST, Decoder, Encoder
from .scratch import scratch_tensor
from .writer import Stored, TensorWriter

ROWS = 64  # coefficients that are coded with the same models, before these adapt
STREAM = 2**24  # coefficients of a stream, where bytes are not limited
FINEST, COARSEST = 2.0**-10, 2.0**6  # steps


@dataclass(frozen=True)
class ByEntry:
    """A number for each entry of a design, which all coefficients of the entry share.

    Attributes:
        each: float64 (F,).
        entities: how many coefficients there are for each entry; see `Design`.
    """

    each: Tensor
    entities: tuple[int, ...]

    def __len__(self) -> int:
        """How many coefficients there are."""
        return sum(self.entities)

    def __getitem__(self, rows: slice) -> Tensor:
        """The numbers of some coefficients, (n, 1)."""
        ends = torch.tensor(self.entities).cumsum(0)
        entries = torch.searchsorted(ends, torch.arange(rows.start, rows.stop), right=True)
        return self.each[entries][:, None]


def blocks(rows: int) -> Iterator[slice]:
    """All rows, as many at a time as are coded with the same models."""
    return (slice(start, min(start + ROWS, rows)) for start in range(0, rows, ROWS))


def stream_rows(rows: int, dims: int) -> int:
    """Rows of each stream but the last one, where so many are cut into streams."""
    return min(rows, max(1, STREAM // (ROWS * dims)) * ROWS)


def coded(
    coefficients: Tensor, step: float, room: int, folder: Path
) -> tuple[list[Stored], int, float]:
    """Coefficients (size, dims) as bytes, with the largest magnitude and the step.

    Args:
        step: taken where there is no `room`; else the finest step at which they fit.
        folder: where the bytes are written, uint8 (n,) each stream; one where there is `room`.

    Raises:
        UserError: not even the coarsest step fits.
    """
    size, dims = coefficients.shape
    farthest = torch.stack([coefficients.max(), -coefficients.min()]).max()

    def rounded_to(step: float, some: Tensor) -> Tensor:
        return (some / step).round().clamp(-MOST, MOST).long()

    def streams(step: float, each: int) -> Iterator[bytes]:
        coder = Encoder(dims, largest(step))
        for rows in blocks(size):
            coder.add(rounded_to(step, coefficients[rows]).numpy())
            if rows.stop % each == 0 or rows.stop == size:
                yield coder.cut()

    def largest(step: float) -> int:
        return max(1, int(rounded_to(step, farthest)))

    def stored(streams: Iterator[bytes], step: float) -> tuple[list[Stored], int, float]:
        return [_written(folder, *each) for each in enumerate(streams)], largest(step), step

    if not room:
        return stored(streams(step, stream_rows(size, dims)), step)
    fine, coarse = FINEST, COARSEST
    best: bytes | None = None
    while coarse / fine > 1.01:
        tried = min(COARSEST, rounded((fine * coarse) ** 0.5))
        data = next(streams(tried, size))
        if len(data) <= room:
            best, coarse = data, tried
        else:
            fine = tried
    if best is None:
        least = len(next(streams(COARSEST, size)))
        raise UserError(
            f"A function of {size} coefficients of {dims} dims takes {least:,} bytes in its "
            f"coarsest form, and there are {room:,}."
        )
    return stored(iter([best]), coarse)


def decoded(
    code: Sequence[Tensor | Stored], scales: ByEntry, dims: int, most: int, folder: Path | None
) -> Tensor:
    """The coefficients of `coded`, each row times its scale, float32 (size, dims).

    Args:
        code: the streams.
        folder: where they lie if they are large; without, they are in memory.
    """
    size = len(scales)
    each = stream_rows(size, dims) if len(code) > 1 else size
    coder = Decoder(_bytes(code[0]), dims, most)
    found = scratch_tensor(folder, torch.float32, size, dims)
    for rows in blocks(size):
        if rows.start and rows.start % each == 0:
            coder.go_on(_bytes(code[rows.start // each]))
        found[rows] = torch.from_numpy(coder.take(rows.stop - rows.start)) * scales[rows]
    return found


def as_tensor(code: bytes) -> Tensor:
    """Bytes as they are shipped, uint8 (n,)."""
    return torch.from_numpy(np.frombuffer(code, np.uint8).copy())


def rounded(number: float) -> float:
    """A number of four digits: what ships in a manifest takes bytes, and need not be exact."""
    return float(f"{number:.4g}")


def stream_name(number: int) -> str:
    """Of the tensor that holds a stream: `code`, `code2`, ..."""
    return f"code{number + 1}" if number else "code"


def code_and_basis(
    stored: Artefact, dims: int, classes: int, whose: str
) -> tuple[list[Tensor], Tensor]:
    """The tensors `code`, in its streams, and `basis` of an artefact.

    Args:
        dims: rows of the basis; 0 for any number.

    Raises:
        ArtefactError: they are of another type or shape.
    """
    streams = takewhile(stored.tensors.__contains__, map(stream_name, count()))
    code, basis = [stored.tensors[name] for name in streams], stored.tensors.get("basis")
    if not code or any(c.dtype != torch.uint8 or c.dim() != 1 or len(c) % 4 for c in code):
        raise ArtefactError(f"The {whose} code is not a row of bytes, four a word.")
    many = [dims] if dims else range(1, classes)
    if (
        basis is None
        or basis.dtype != torch.int8
        or basis.dim() != 2
        or basis.shape[1] != classes
        or len(basis) not in many
    ):
        raise ArtefactError(f"The {whose} basis is not int8 {(dims or 'some', classes)}.")
    return code, basis


def _written(folder: Path, number: int, data: bytes) -> Stored:
    writer = TensorWriter(folder / stream_name(number), torch.uint8)
    writer.add(as_tensor(data))
    return writer.stored()


def _bytes(code: Tensor | Stored) -> bytes:
    return code[:].numpy().tobytes()
