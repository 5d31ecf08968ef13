"""Unsigned integers of any width, packed without gaps; random access on the device.

Value i takes bits i * width to (i + 1) * width - 1 of the byte string, lowest bit first.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_WIDTH = 25  # two values, which may start at any even bit of a byte, lie in eight bytes


def width_for(values: int) -> int:
    """Bits that tell `values` values apart: 200 take 8, 1,000 take 10."""
    return max(1, (values - 1).bit_length())


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `count` values of `width` bits take."""
    return -(-count * width // 8)


def pack(values: Tensor, width: int) -> Tensor:
    """Integers in [0, 2^width), of any shape, as uint8 (packed_bytes,).

    Raises:
        ValueError: the width is not in 1..25, or a value does not fit it.
    """
    if not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"width must be in 1..{MAX_WIDTH}, got {width}")
    flat = values.flatten().long()
    if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < 2**width:
        raise ValueError(
            f"values from {int(flat.min())} to {int(flat.max())} do not fit {width} bits"
        )
    place = torch.arange(width, device=flat.device)
    weight = 2 ** torch.arange(8, device=flat.device)
    parts = []
    for block in flat.split(1 << 20):  # a multiple of 8 values, so blocks end on whole bytes
        bits = ((block[:, None] >> place) & 1).flatten()
        bits = F.pad(bits, (0, -len(bits) % 8)).view(-1, 8)
        parts.append((bits * weight).sum(1).to(torch.uint8))
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8)


class Bytes(Protocol):
    """A byte string that is read by slices: a uint8 tensor, or one that lies on disk."""

    def __getitem__(self, rows: slice, /) -> Tensor: ...


def unpack(packed: Bytes, width: int, start: int, count: int) -> Tensor:
    """Values `start` to `start + count - 1`, int64 (count,), on the device of `packed`."""
    # Eight values fill `width` bytes, so each has its place in these, whichever eight they are.
    first, stop = start // 8, -(-(start + count) // 8)
    low, high = start * width // 8, -(-(start + count) * width // 8)
    chunk = packed[low:high]
    around = (low - first * width, stop * width - low - len(chunk))  # not read, not looked at
    eights = F.pad(chunk, around).view(-1, width)
    # A word is the eight bytes, at most, that as many of the eight values lie in.
    each = 8 if width <= 8 else 4 if width <= 16 else 2
    values = torch.empty(len(eights), 8, dtype=torch.int64, device=chunk.device)
    place = torch.arange(0, each * width, width, device=chunk.device)
    for number in range(0, 8, each):
        low, high = number * width, (number + each) * width
        part = eights[:, low // 8 : -(-high // 8)]
        word = part.new_zeros(len(part), 8)
        word[:, : part.shape[1]] = part
        values[:, number : number + each] = word.view(torch.int64) >> place + low % 8
    values &= 2**width - 1
    return values.flatten()[start - 8 * first :][:count]
