"""Tensors that grow on disk: rows are appended as they come, and memory holds none of them."""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from .packing import pack


class Stored:
    """A tensor in a file, read a slice at a time.

    Attributes:
        shape: its first dimension is the number of rows.
    """

    def __init__(self, file: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        self.file, self.dtype, self.shape = file, dtype, torch.Size(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        """Rows `start` to `stop`, on the CPU."""
        start, stop, _ = rows.indices(len(self))
        count, row = max(0, stop - start), self.shape[1:]
        data = bytearray(count * prod(row) * self.dtype.itemsize)
        if not data:
            return torch.empty((count, *row), dtype=self.dtype)
        self._read(start, stop, memoryview(data))
        return torch.frombuffer(data, dtype=self.dtype).view(count, *row)

    def _read(self, start: int, stop: int, into: memoryview) -> None:
        """Fill memory with the rows from `start` to `stop`.

        Raises:
            OSError: the file was cut since.
        """
        with self.file.open("rb") as file:
            file.seek(start * (len(into) // (stop - start)))
            if file.readinto(into) != len(into):
                raise OSError(f"{str(self.file)!r} ends before row {stop:,}.")

    def flat(self) -> "Stored":
        """The same numbers, one a row."""
        return Stored(self.file, self.dtype, (self.shape.numel(),))


class Joined(Stored):
    """Rows that lie in several files, read as one tensor.

    Args:
        parts: in order, each with the first and the last but one of its rows that count.
    """

    def __init__(self, parts: Sequence[tuple[Stored, slice]]) -> None:
        first = parts[0][0]
        self._parts = parts
        self._ends = list(accumulate(rows.stop - rows.start for _, rows in parts))
        super().__init__(first.file, first.dtype, (self._ends[-1], *first.shape[1:]))

    def _read(self, start: int, stop: int, into: memoryview) -> None:
        row = len(into) // (stop - start)
        for (stored, held), end in zip(self._parts, self._ends, strict=True):
            before = end - held.stop  # rows ahead of the part's file
            low, high = max(start - before, held.start), min(stop - before, held.stop)
            if low < high:
                at = (low + before - start) * row
                stored._read(low, high, into[at : at + (high - low) * row])

    def flat(self) -> Stored:
        """The same numbers, one a row."""
        size = prod(self.shape[1:])
        return Joined(
            [(part.flat(), slice(r.start * size, r.stop * size)) for part, r in self._parts]
        )


class TensorWriter:
    """A tensor that grows in `file` by rows of shape `row`."""

    def __init__(self, file: Path, dtype: torch.dtype, row: tuple[int, ...] = ()) -> None:
        self.file, self.dtype, self.row, self.rows = file, dtype, row, 0
        file.write_bytes(b"")

    def add(self, rows: Tensor) -> None:
        """Append rows, (n, *row)."""
        if rows.shape[1:] != self.row:
            raise ValueError(f"rows must have the shape {self.row}, got {tuple(rows.shape[1:])}")
        data = rows.detach().to("cpu", self.dtype).contiguous()
        with self.file.open("ab") as file:
            file.write(data.view(torch.uint8).numpy().data)
        self.rows += len(rows)

    def stored(self) -> Stored:
        """All rows; nothing may be added afterwards."""
        return Stored(self.file, self.dtype, (self.rows, *self.row))

    def mapped(self) -> Tensor:
        """All rows, mapped into memory, which may drop pages that lie in the file as well.

        Nothing may be added afterwards.
        """
        size = self.rows * prod(self.row)
        if not size:
            return torch.empty((self.rows, *self.row), dtype=self.dtype)
        flat = torch.from_file(str(self.file), False, size, dtype=self.dtype)
        return flat.view(self.rows, *self.row)


class PackedWriter:
    """Unsigned integers of any width that grow in `file`, packed without gaps."""

    def __init__(self, file: Path, width: int) -> None:
        self.width = width
        self._bytes = TensorWriter(file, torch.uint8)
        self._rest = torch.empty(0, dtype=torch.int64)  # fewer than eight, not yet written

    def add(self, values: Tensor) -> None:
        """Append integers of any shape, in order."""
        values = torch.cat([self._rest, values.detach().flatten().to("cpu", torch.int64)])
        whole = len(values) // 8 * 8  # eight values end on a whole byte, whatever their width
        self._bytes.add(pack(values[:whole], self.width))
        self._rest = values[whole:]

    def stored(self) -> Stored:
        """The packed bytes; nothing may be added afterwards."""
        self._bytes.add(pack(self._rest, self.width))
        return self._bytes.stored()
