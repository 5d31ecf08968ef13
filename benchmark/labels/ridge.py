"""Ridge regression on a sparse design whose rows and coefficients may outgrow memory.

Design, coefficients and all that the solution goes through are `scratch` tensors, worked on a chunk
at a time; the solution is the same to the bit whatever lies on disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from . import scratch
from .scratch import chunks, scratch_tensor

NOISE = 0.075  # power of what no geometry explains, as a share of the labels'
TOLERANCE = 1e-4  # of a solution, relative to the right-hand side
MOST_ITERATIONS = 300
SOLVED_BYTES = 2**28  # of coefficients that are solved for at once
WIDE = 8  # bytes of a number


@dataclass
class Design:
    """Views as rows of a sparse matrix, whose columns are the function's coefficients.

    Attributes:
        columns, values: of each view's entries, (n, F); values are scaled by the prior's root.
        entities: how many coefficients there are for each entry, one an image or a class; they
            stand one after another.
        folder: where what is worked out of it lies, if that is large.
    """

    columns: Tensor
    values: Tensor
    entities: tuple[int, ...]
    folder: Path | None = None

    @property
    def size(self) -> int:
        """How many coefficients there are."""
        return sum(self.entities)

    def times(self, coefficients: Tensor) -> Tensor:
        """What coefficients (size, k) make of the views, (n, k)."""
        return F.embedding_bag(
            self.columns, coefficients, mode="sum", per_sample_weights=self.values
        )

    def write_times(self, coefficients: Tensor, out: Tensor) -> None:
        """The same into `out`, a chunk of views at a time."""
        width = self.columns.shape[1] + coefficients.shape[1]
        for rows in chunks(len(self.columns), WIDE * width):
            some = Design(self.columns[rows], self.values[rows], self.entities)
            out[rows] = some.times(coefficients)

    def write_transposed(self, labels: Tensor, out: Tensor) -> None:
        """The transposed matrix times `labels` (n, k) into `out` (size, k), in chunks."""
        entries = self._by_column
        for columns, within, offsets in self._runs(labels.shape[1]):
            out[columns] = F.embedding_bag(
                entries.rows[within],
                labels,
                offsets,
                mode="sum",
                per_sample_weights=entries.values[within],
            )

    @cached_property
    def scale(self) -> Tensor:
        """The diagonal of the normal equations, (size, 1)."""
        entries = self._by_column
        found = scratch_tensor(self.folder, torch.float64, self.size, 1)
        one = self.values.new_ones(1, 1)
        for columns, within, offsets in self._runs(1):
            first = torch.zeros_like(entries.rows[within])
            squares = entries.values[within] ** 2
            found[columns] = F.embedding_bag(
                first, one, offsets, mode="sum", per_sample_weights=squares
            )
        return found.add_(NOISE)

    def _runs(self, width: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Columns in chunks, the entries of each chunk, and where each column's start in them."""
        starts, start = self._by_column.starts, 0
        each, columns = scratch.CHUNK_BYTES // WIDE, max(1, scratch.CHUNK_BYTES // (WIDE * width))
        while start < self.size:
            first = int(starts[start])
            stop = int(torch.searchsorted(starts, first + each, right=True)) - 1
            stop = min(max(stop, start + 1), start + columns, self.size)
            offsets = (starts[start:stop] - first).to(self._by_column.rows.dtype)
            yield slice(start, stop), slice(first, int(starts[stop])), offsets
            start = stop

    @cached_property
    def _by_column(self) -> "Entries":
        """All entries, sorted by column."""
        (count, width), folder = self.columns.shape, self.folder
        starts = scratch_tensor(folder, torch.int64, self.size + 1)
        rows = scratch_tensor(folder, torch.int32, count * width)
        values = scratch_tensor(folder, torch.float64, count * width)
        parts = list(chunks(count, WIDE * width))
        ends = list(accumulate(self.entities, initial=0))
        for number, (first, many) in enumerate(zip(ends, self.entities, strict=False)):
            counts = torch.zeros(many, dtype=torch.int64)
            for part in parts:
                counts += (self.columns[part, number] - first).bincount(minlength=many)
            starts[first + 1 : first + many + 1] = count * number + counts.cumsum(0)
        free = scratch_tensor(folder, torch.int64, self.size).copy_(starts[:-1])
        for part in parts:
            for number in range(width):
                columns = self.columns[part, number].long()
                order = columns.argsort(stable=True)
                ahead = columns[order]
                # The first of a column's entries goes to its first free place, and so on.
                of_column = torch.arange(len(order)) - torch.searchsorted(ahead, ahead)
                places = free[ahead] + of_column
                rows[places] = (order + part.start).int()
                values[places] = self.values[part, number][order]
                free.index_add_(0, columns, torch.ones_like(columns))
        return Entries(starts, rows, values)


@dataclass(frozen=True)
class Entries:
    """The entries of a design, sorted by column, and by row within it.

    Attributes:
        starts: where each column's begin, and how many there are, int64 (size + 1,).
        rows, values: of each.
    """

    starts: Tensor
    rows: Tensor
    values: Tensor


def fit(design: Design, labels: Tensor) -> Tensor:
    """Ridge regression: the coefficients, scaled by their prior, that explain labels best.

    Conjugate gradients on the normal equations, preconditioned by their diagonal; of many
    coefficients for some of the labels' columns at a time, which need nothing of each other.

    Args:
        labels: float64 (n, k), in units of their own root mean square.

    Returns:
        float64 (size, k).
    """
    each = max(1, SOLVED_BYTES // (WIDE * design.size))
    if each >= labels.shape[1]:
        return _solved(design, labels)
    found = scratch_tensor(design.folder, torch.float64, design.size, labels.shape[1])
    for first in range(0, labels.shape[1], each):
        some = labels[:, first : first + each]
        part = scratch_tensor(design.folder, torch.float64, *some.shape).copy_(some)
        found[:, first : first + each] = _solved(design, part)
    return found


def _solved(design: Design, labels: Tensor) -> Tensor:
    """The coefficients of few columns, (size, k)."""
    (count, width), size = labels.shape, design.size
    found, rest, step, image, products = (
        scratch_tensor(design.folder, torch.float64, size, width) for _ in range(5)
    )
    shown = scratch_tensor(design.folder, torch.float64, count, width)
    every = (found, rest, step, image, products, design.scale)
    # Numbers are worked on in chunks, and summed in one go: sums go by their order.
    parts = [[tensor[rows] for tensor in every] for rows in chunks(size, WIDE * width)]
    design.write_transposed(labels, rest)
    for _, left, ahead, _, product, scale in parts:
        torch.div(left, scale, out=ahead)
        torch.mul(left, ahead, out=product)
    enough, along = TOLERANCE * rest.norm(), products.sum(0)
    for _ in range(MOST_ITERATIONS):
        if rest.norm() <= enough:
            break
        design.write_times(step, shown)
        design.write_transposed(shown, image)
        for _, _, ahead, moved, product, _ in parts:
            moved += NOISE * ahead
            torch.mul(ahead, moved, out=product)
        length = along / products.sum(0).clamp_min(1e-300)
        for solved, left, ahead, moved, product, scale in parts:
            solved += length * ahead
            left -= length * moved
            torch.div(left, scale, out=moved)
            torch.mul(left, moved, out=product)
        along, before = products.sum(0), along
        for _, _, ahead, moved, _, _ in parts:
            ahead *= along / before.clamp_min(1e-300)
            ahead += moved
    return found
