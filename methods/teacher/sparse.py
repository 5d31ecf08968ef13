"""Pruned weights as they are shipped: kept values, and the gaps between their places.

The relative index of Han, Mao and Dally, Deep Compression, ICLR 2016, arXiv 1510.00149: all
weights lie in one row, and each entry says how many zeros were skipped since the one before. A
gap too wide for its bits is bridged by entries whose value is nil.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError
from benchmark.labels.artefact import StoredTensor
from benchmark.labels.packing import pack, packed_bytes, unpack
from benchmark.labels.weights import (
    BITS,
    FLOATS,
    WeightForm,
    cut,
    dequantise,
    flat,
    narrow,
    quantise,
    slices,
    total,
    widen,
)

WIDTHS = range(1, 13)


@dataclass(frozen=True)
class Gaps:
    """How places are stored.

    Attributes:
        bits: of each gap.
        entries: kept values and bridges.
    """

    bits: int
    entries: int

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS or self.entries < 0:
            raise ValueError(f"bits must be in 1..12, entries not negative, got {self}")


def encode(tensors: Sequence[Tensor], form: WeightForm) -> tuple[list[StoredTensor], Gaps]:
    """What is shipped of all numbers that are not nil; what would be empty is left out."""
    row = flat(tensors)
    kept = row.nonzero().squeeze(1)
    bits = fewest_bits(kept, BITS[form])
    skipped = gaps(kept, bits)
    scales = torch.empty(0)
    if form not in FLOATS:
        row, scales = quantise(tensors, form)
    made = [
        StoredTensor("kept", "weights", narrow(row[places(skipped)], form), numbers=len(kept)),
        StoredTensor("scales", "weights", scales, numbers=0),
        StoredTensor("gaps", "indices", pack(skipped, bits)),
    ]
    return [part for part in made if part.tensor.shape.numel()], Gaps(bits, len(skipped))


def decode(
    shipped: Mapping[str, Tensor], form: WeightForm, shapes: Sequence[torch.Size], stored: Gaps
) -> list[Tensor]:
    """The tensors of these shapes again, float32, with zeros where nothing was kept.

    Raises:
        ArtefactError: the stored numbers do not fit the shapes.
    """
    empty = torch.empty(0, dtype=torch.uint8)
    packed = shipped.get("gaps", empty)
    size = packed_bytes(stored.entries, stored.bits)
    if packed.dtype != torch.uint8 or packed.shape != (size,):
        raise ArtefactError(
            f"The places of {stored.entries} weights take {size} bytes, not {packed.numel()}."
        )
    where = places(unpack(packed, stored.bits, 0, stored.entries))
    row = torch.zeros(total(shapes))
    if len(where) and int(where[-1]) >= len(row):
        raise ArtefactError(f"Place {int(where[-1])} is beyond the network's {len(row)} weights.")
    row[where] = widen(shipped.get("kept", empty), form, stored.entries)
    if form in FLOATS:
        return cut(row, shapes)
    scales = widen(shipped.get("scales", empty), "fp16", slices(shapes))
    return dequantise(row, scales, shapes)


def gaps(kept: Tensor, bits: int) -> Tensor:
    """Zeros skipped before each entry, bridges included, int64 (entries,) below 2^bits.

    Args:
        kept: places of the kept values, rising.
    """
    zeros = _between(kept)
    last = ((zeros >> bits) + 1).cumsum(0) - 1  # of the entries that lead to a kept value
    skipped = torch.full((int(last[-1]) + 1 if len(last) else 0,), 2**bits - 1)
    skipped[last] = zeros & (2**bits - 1)
    return skipped


def places(skipped: Tensor) -> Tensor:
    """The places of all entries, bridges included, int64 (entries,)."""
    return (skipped + 1).cumsum(0) - 1


def fewest_bits(kept: Tensor, value_bits: int) -> int:
    """The width of gaps for which gaps and values together take the fewest bytes."""
    zeros = _between(kept)

    def size(bits: int) -> int:
        entries = len(kept) + int((zeros >> bits).sum())
        return packed_bytes(entries, bits) + packed_bytes(entries, value_bits)

    return min(WIDTHS, key=size)


def _between(kept: Tensor) -> Tensor:
    """Zeros between each kept value and the one before, (kept,)."""
    return kept.diff(prepend=torch.tensor([-1])) - 1
