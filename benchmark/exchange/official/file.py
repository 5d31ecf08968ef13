"""One file of official labels, read without risk and told apart into its parts.

A `batch_n.tar` of SRe2L, LPLD or LPQLD is no tar archive but a `torch.save` file, which is a
pickle, and a pickle can run code. It is read by torch's restricted reader, which here knows
tensors and numbers and refuses all else.

The file holds a list (as the published relabelling scripts of LPLD and LPQLD write it):

    crop            float32 or float16 (B, 4): top, left, height, width; shares of the side
    flip            bool (B,); absent for ImageNet-21K
    cutout          float32 (B, 7), ImageNet-21K only: row and column of the centre, height and
                    width, shares of the side; red, green and blue in 0..255
    partner         int64 or uint8 (B,), a permutation; None without a mix
    weight          float: the share of a view's own image; None without a mix
    box             4 integers, pixels: first row, first column, last row, last column, the last
                    two excluded; None without CutMix
    values          float16 (B, C), logits in class order, or (B, k); float32 of scripts that were
                    run without `--use-fp16`
    indices         int16 (B, k), the classes of the values; absent where all are kept

Of `--use_rand_aug` it also holds what RandAugment did to each view, after `flip`: a list, which
is told apart and refused.
"""

import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

from ...core.bounded import short, shown
from ...core.errors import ArtefactError

MOST_BYTES = 2**30
FLOATS = (torch.float16, torch.float32)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8)


@dataclass(frozen=True)
class Parts:
    """The parts of a file, of the types and shapes they should have; see the module's table.

    Attributes:
        box_bytes: what the mix box takes in the file.
    """

    crop: Tensor
    flip: Tensor | None
    cutout: Tensor | None
    partner: Tensor | None
    weight: float | None
    box: list[int] | None
    box_bytes: int
    values: Tensor
    indices: Tensor | None

    def __len__(self) -> int:
        """How many views."""
        return len(self.crop)

    def view_bytes(self, count: int) -> int:
        """Bytes that say how `count` views look, were there so many in the file."""
        tensors = (self.crop, self.flip, self.cutout, self.partner)
        each = sum(t[0].numel() * t.element_size() for t in tensors if t is not None)
        return count * each + self.box_bytes + (0 if self.weight is None else 8)


class MisfitError(ValueError):
    """A part that is not as the form has it; says which and how, but not of which file."""


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Turn a MisfitError into an ArtefactError that names the file."""
    try:
        yield
    except MisfitError as error:
        raise ArtefactError(f"{str(file)!r} does not fit the official form: {error}.") from error


def read_parts(file: Path) -> Parts:
    """The parts of a file.

    Raises:
        ArtefactError: there is no such file, it carries code, is damaged, or does not fit.
    """
    with naming(file):
        return _parts(_load(file))


class _Kind:
    """Stands for `numpy.dtype` in a file: the kind of one number."""

    def __init__(self, code: str, *flags: Any) -> None:
        if code not in ("f8", "f4", "i8", "i4", "u1"):
            raise MisfitError(f"it holds a NumPy number of kind {code!r}")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|"):
            raise MisfitError(f"it holds a NumPy number of byte order {state[1]!r}")
        self.code = state[1] + self.code


def _number(kind: _Kind, data: bytes) -> float | int:
    """Stands for the function by which NumPy makes a scalar again."""
    return np.frombuffer(data, kind.code)[0].item()


# NumPy 1 and 2 write their function under different names. Neither it nor NumPy's type is
# called: newer versions warn of the arguments that older ones wrote.
NUMBERS = [
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    (_Kind, "numpy.dtype"),
]


@contextmanager
def _only_numbers() -> Iterator[None]:
    """Let torch's restricted reader make numbers, and nothing else that the process allows."""
    before = get_safe_globals()
    clear_safe_globals()
    add_safe_globals(NUMBERS)
    try:
        yield
    finally:
        clear_safe_globals()
        add_safe_globals(before)


def _load(file: Path) -> Any:
    if not file.is_file():
        raise MisfitError("it is missing")
    _refuse_damage(file)
    try:
        with _only_numbers():
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MisfitError):
        raise
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise MisfitError(
                f"it carries {found[1]}, neither tensor nor number, which may be code; nothing "
                "of it was run"
            ) from error
        raise MisfitError("it is damaged") from error
    except Exception as error:  # damage may make the reader fail in any way
        raise MisfitError("it is damaged") from error


def _refuse_damage(file: Path) -> None:
    """Check what torch's reader trusts: that no member claims more than is there, and the CRCs."""
    if file.stat().st_size > MOST_BYTES:
        raise MisfitError(f"it is longer than {MOST_BYTES:,} bytes")
    try:
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type for member in archive.infolist()):
                raise MisfitError("its members are compressed, as torch.save never writes them")
            damaged = archive.testzip()
    except MisfitError:
        raise
    except Exception as error:  # damage may make the reader fail in any way
        raise MisfitError("it is damaged, or not of torch.save") from error
    if damaged is not None:
        raise MisfitError(f"it is damaged: the CRC of {short(damaged)} is another")


def _parts(loaded: Any) -> Parts:
    if not isinstance(loaded, list | tuple):
        raise MisfitError(f"it holds {_describe(loaded)} instead of a list")
    indices = None
    if loaded and isinstance(loaded[-1], Tensor) and loaded[-1].dtype in INTEGERS:
        *loaded, indices = loaded
    if not 6 <= len(loaded) <= 7:
        raise MisfitError(f"it holds {len(loaded)} parts beside class indices; valid: 6 or 7")
    crop, *extras, partner, weight, box, values = loaded
    if len(extras) == 2 and isinstance(extras[1], list | tuple):
        raise MisfitError(
            "it was made with RandAugment (--use_rand_aug), which this suite cannot draw again, so "
            "its labels would be shown with other pixels"
        )
    count, width = _size(crop, 1), _size(values, 2)
    crop = _tensor("crops", crop, FLOATS, (count, 4))
    flip = cutout = None
    for part in extras:
        if isinstance(part, Tensor) and part.ndim == 2:
            cutout = _tensor("Cutout boxes", part, FLOATS, (count, 7))
        else:
            flip = _tensor("flips", part, (torch.bool,), (count,))
    if partner is not None:
        partner = _tensor("mix permutation", partner, (torch.int64, torch.uint8), (count,))
        if not isinstance(weight, float) or not 0 <= weight <= 1:
            raise MisfitError(f"the mix weight must be a number in 0..1, got {shown(weight)}")
    elif weight is not None or box is not None:
        raise MisfitError("it has a mix weight or box, but no mix permutation")
    return Parts(
        crop=crop,
        flip=flip,
        cutout=cutout,
        partner=partner,
        weight=weight,
        box=None if box is None else _whole_numbers(box),
        box_bytes=0 if box is None else sum(getattr(edge, "itemsize", 8) for edge in box),
        values=_tensor("logits", values, FLOATS, (count, width)),
        indices=indices
        if indices is None
        else _tensor("class indices", indices, INTEGERS, (count, width)),
    )


def _size(part: Any, dimensions: int) -> int:
    """The size of a tensor's dimension, counted from 1; at least 1, whatever the part is."""
    if isinstance(part, Tensor) and part.ndim >= dimensions:
        return max(1, part.shape[dimensions - 1])
    return 1


def _tensor(
    name: str, part: Any, dtypes: tuple[torch.dtype, ...], shape: tuple[int, ...]
) -> Tensor:
    # One that is not contiguous may claim more numbers than the file has.
    fits = type(part) is Tensor and part.device.type == "cpu" and part.layout == torch.strided
    if fits and part.dtype in dtypes and part.shape == shape and part.is_contiguous():
        return part
    valid = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    raise MisfitError(f"the {name} must be {valid} {shape}, got {_describe(part)}")


def _whole_numbers(box: Any) -> list[int]:
    """The edges of a mix box, which are Python integers or tensors of one."""
    edges = list(box) if isinstance(box, list | tuple) else [box]
    whole: list[Any] = [
        int(edge)
        if isinstance(edge, Tensor) and edge.ndim == 0 and edge.dtype in INTEGERS
        else edge
        for edge in edges
    ]
    if len(whole) != 4 or not all(type(edge) is int for edge in whole):
        raise MisfitError(f"the mix box must be 4 integers, got {', '.join(map(_describe, edges))}")
    return whole


def _describe(part: Any) -> str:
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} {tuple(part.shape)}"
    return type(part).__name__
