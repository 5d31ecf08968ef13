"""How a network's weights are shipped: as floats, or as whole numbers with one scale a slice.

All tensors share a few flat tensors: headers of their own would cost each about a hundred bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import ArtefactError
from .artefact import StoredTensor
from .container import like
from .packing import pack, packed_bytes, unpack

WeightForm = Literal["fp32", "fp16", "int8", "int4"]
FLOATS = {"fp32": torch.float32, "fp16": torch.float16}
LARGEST = {"int8": 127, "int4": 7}
BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
FP16_MAX = 65504.0


def encode(tensors: Sequence[Tensor], form: WeightForm) -> list[StoredTensor]:
    """What is shipped of these tensors; what would be empty is left out.

    fp32 and fp16: `weights`, all in their order. int8 and int4: `codes` and `scales` of the
    tensors of two or more dimensions, and `plain`, all others as fp16.
    """
    if form in FLOATS:
        made = [StoredTensor("weights", "weights", narrow(flat(tensors), form))]
    else:
        codes, scales = quantise([t for t in tensors if t.ndim > 1], form)
        plain = flat([t for t in tensors if t.ndim < 2])
        made = [
            StoredTensor("codes", "weights", narrow(codes, form), numbers=len(codes)),
            StoredTensor("scales", "weights", scales, numbers=0),
            StoredTensor("plain", "weights", narrow(plain, "fp16")),
        ]
    return [part for part in made if part.tensor.shape.numel()]


def decode(
    shipped: Mapping[str, Tensor], form: WeightForm, shapes: Sequence[torch.Size | tuple[int, ...]]
) -> list[Tensor]:
    """The tensors of these shapes again, float32, from what `encode` made of them.

    Raises:
        ArtefactError: more or fewer numbers are stored than the shapes hold.
    """

    def stored(name: str, form: WeightForm, count: int) -> Tensor:
        return widen(shipped.get(name, torch.empty(0)), form, count)

    if form in FLOATS:
        return cut(stored("weights", form, total(shapes)), shapes)
    matrices = [shape for shape in shapes if len(shape) > 1]
    vectors = [shape for shape in shapes if len(shape) < 2]
    codes = stored("codes", form, total(matrices))
    scales = stored("scales", "fp16", slices(matrices))
    coded = iter(dequantise(codes, scales, matrices))
    plain = iter(cut(stored("plain", "fp16", total(vectors)), vectors))
    return [next(coded if len(shape) > 1 else plain) for shape in shapes]


def narrow(row: Tensor, form: WeightForm) -> Tensor:
    """Numbers (N,) as they are stored; fp16 cannot hold more than 65504, which larger become."""
    if form == "int4":
        return pack(row + LARGEST[form], BITS[form])
    if form == "fp16":
        row = row.clamp(-FP16_MAX, FP16_MAX)
    return row.to(FLOATS.get(form, torch.int8))


def widen(stored: Tensor, form: WeightForm, count: int) -> Tensor:
    """The `count` numbers that `narrow` stored, float32 (count,).

    Raises:
        ArtefactError: it holds more or fewer, or one is no finite number.
    """
    expected = packed_bytes(count, BITS[form]) if form == "int4" else count
    if stored.shape != (expected,):
        raise ArtefactError(
            f"The stored weights do not fit the network: {tuple(stored.shape)} where {count} "
            f"numbers as {form} take {expected}."
        )
    if form == "int4":
        return (unpack(stored.to(torch.uint8), BITS[form], 0, count) - LARGEST[form]).float()
    numbers = stored.float()
    if not numbers.isfinite().all():
        raise ArtefactError("A stored weight is no finite number.")
    return numbers


def quantise(tensors: Sequence[Tensor], form: WeightForm) -> tuple[Tensor, Tensor]:
    """Tensors of two or more dimensions as whole numbers, with one scale for each slice.

    The largest absolute value of a slice of the first dimension becomes 127 (int8) or 7 (int4);
    no value is off by more than half its slice's scale.

    Returns:
        All whole numbers in one row, float32, and all scales, fp16.
    """
    most = LARGEST[form]
    codes, scales = [], []
    for tensor in tensors:
        rows = tensor.detach().float().flatten(1)
        exact = F.pad(rows.abs(), (0, 1)).amax(1) / most  # padded, since a row may be empty
        # Below 2^-14 fp16 has steps of 2^-24: there a scale is rounded up, and never nil.
        coarse = (exact * 2**24).ceil().clamp_min(1) / 2**24
        scale = narrow(torch.where(exact < 2**-14, coarse, exact), "fp16")
        codes.append((rows / scale.float()[:, None]).round().clamp(-most, most))
        scales.append(scale)
    return flat(codes), flat(scales).half()


def dequantise(
    codes: Tensor, scales: Tensor, shapes: Sequence[torch.Size | tuple[int, ...]]
) -> list[Tensor]:
    """Tensors of these shapes from the two rows that `quantise` gave."""
    wholes = cut(codes, shapes)
    each = cut(scales, [(shape[0],) + (1,) * (len(shape) - 1) for shape in shapes])
    return [whole * scale for whole, scale in zip(wholes, each, strict=True)]


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of the tensors in one row, float32."""
    rows = [tensor.detach().float().reshape(-1) for tensor in tensors]
    return torch.cat(rows) if rows else torch.empty(0)


def cut(row: Tensor, shapes: Sequence[torch.Size | tuple[int, ...]]) -> list[Tensor]:
    """The tensors of these shapes that lie in a row one after the other."""
    parts = row.split([torch.Size(shape).numel() for shape in shapes]) if shapes else ()
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def total(shapes: Sequence[torch.Size | tuple[int, ...]]) -> int:
    """Numbers that tensors of these shapes hold together."""
    return sum(torch.Size(shape).numel() for shape in shapes)


def slices(shapes: Sequence[torch.Size | tuple[int, ...]]) -> int:
    """Slices of the first dimension, and so scales, of tensors of these shapes."""
    return sum(shape[0] for shape in shapes)


def stand_ins(
    shapes: Sequence[torch.Size | tuple[int, ...]], form: WeightForm
) -> list[StoredTensor]:
    """What `encode` would ship of tensors of these shapes, without values."""
    if form in FLOATS:
        return [like("weights", "weights", FLOATS[form], total(shapes))]
    matrices = [shape for shape in shapes if len(shape) > 1]
    count, vectors = total(matrices), total(shapes) - total(matrices)
    packed = packed_bytes(count, BITS[form])
    dtype = torch.uint8 if form == "int4" else torch.int8
    made = [
        like("codes", "weights", dtype, packed, numbers=count),
        like("scales", "weights", torch.float16, slices(matrices), numbers=0),
        like("plain", "weights", torch.float16, vectors),
    ]
    return [part for part in made if part.bytes]


def encoded_bytes(shapes: Sequence[torch.Size | tuple[int, ...]], form: WeightForm) -> int:
    """Bytes that `encode` stores of tensors of these shapes."""
    return sum(part.bytes for part in stand_ins(shapes, form))
