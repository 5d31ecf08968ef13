"""How matrices of labels are stored: low-rank factors, and a few entries beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError
from benchmark.labels.artefact import StoredTensor
from benchmark.labels.container import like
from benchmark.labels.packing import pack, packed_bytes, unpack, width_for

from .rpca import factors, robust_pca

Values = Literal["fp16", "int8"]
WHOLE = 127  # the largest int8 magnitude
LEAST = 1e-12


def _kind(name: str) -> Literal["indices", "values"]:
    return "indices" if name == "positions" else "values"


@dataclass(frozen=True)
class Coding:
    """The sizes of a set of matrices, and what is kept of them.

    Attributes:
        images: matrices (N).
        views: rows of each (V).
        classes: columns (C).
        rank: terms of the low-rank part (r), 1 to min(V, C).
        entries: of the sparse part, of each matrix (s), at least 0.
        values: `fp16`, or `int8` with one fp16 amplitude for each term, and for the entries of
            each matrix.
    """

    images: int
    views: int
    classes: int
    rank: int
    entries: int
    values: Values

    @property
    def width(self) -> int:
        """Bits of a position in a matrix."""
        return width_for(self.views * self.classes)

    def shapes(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape of each tensor that is stored."""
        images, kept = self.images, torch.int8 if self.values == "int8" else torch.float16
        found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
            "left": (kept, (images, self.views, self.rank)),
            "right": (kept, (images, self.rank, self.classes)),
        }
        if self.values == "int8":
            found["amplitudes"] = (torch.float16, (images, self.rank))
        if self.entries:
            positions = packed_bytes(images * self.entries, self.width)
            found["entries"] = (kept, (images, self.entries))
            found["positions"] = (torch.uint8, (positions,))
            if self.values == "int8":
                found["entry_amplitudes"] = (torch.float16, (images, 1))
        return found

    @property
    def bytes(self) -> int:
        """Of all tensors, without the container."""
        return sum(dtype.itemsize * prod(shape) for dtype, shape in self.shapes().values())

    def tensors(self, parts: Mapping[str, Tensor]) -> Iterable[StoredTensor]:
        """What an artefact keeps of the parts that `encode` gave."""
        for name, part in parts.items():
            yield StoredTensor(name, _kind(name), part)

    def stand_ins(self) -> list[StoredTensor]:
        """The same without values."""
        shapes = self.shapes().items()
        return [like(name, _kind(name), dtype, *shape) for name, (dtype, shape) in shapes]

    def check(self, parts: Mapping[str, Tensor]) -> None:
        """Refuse parts that `encode` cannot have given.

        Raises:
            ArtefactError: one is missing or too many, of another type or shape, or names a place
                outside a matrix.
        """
        shapes = self.shapes()
        if parts.keys() != shapes.keys():
            raise ArtefactError(f"The labels hold {sorted(parts)}, not {sorted(shapes)}.")
        for name, (dtype, shape) in shapes.items():
            if parts[name].dtype != dtype or parts[name].shape != shape:
                raise ArtefactError(f"The labels' {name} are not {dtype} {shape}.")
        if self.entries and int(self.positions(parts).max()) >= self.views * self.classes:
            raise ArtefactError("The labels' positions lie outside of their matrices.")

    def positions(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Where the entries of each matrix stand in it, row by row, int32 (N, s)."""
        count = self.images * self.entries
        return unpack(parts["positions"], self.width, 0, count).view(self.images, -1).int()

    def encode(self, blocks: Iterable[Tensor]) -> dict[str, Tensor]:
        """The stored parts, on the CPU.

        Args:
            blocks: the matrices in their order, float64 (n, V, C), some at a time.
        """
        made = [self._coded(block) for block in blocks]
        parts = {name: torch.cat([part[name].cpu() for part in made]) for name in made[0]}
        if self.entries:
            parts["positions"] = pack(parts["positions"], self.width)
        return parts

    def _coded(self, matrices: Tensor) -> dict[str, Tensor]:
        """The parts of some matrices; positions are not packed yet.

        The entries kept are the largest of robust PCA's sparse part. The factors are those of
        what is left without them, so that no term is idle where the low-rank part has fewer; the
        entries make good what rounded factors leave.
        """
        if not self.entries:
            return self._rounded(*factors(matrices, self.rank))
        _, sparse = robust_pca(matrices)
        places = sparse.abs().flatten(1).topk(self.entries, 1).indices.sort(1).values
        outliers = torch.zeros_like(sparse.flatten(1))
        outliers.scatter_(1, places, sparse.flatten(1).gather(1, places))
        parts = self._rounded(*factors(matrices - outliers.view_as(matrices), self.rank))
        left, right = restored_factors(parts)
        rest = (matrices - left.double() @ right.double()).flatten(1).gather(1, places)
        parts["positions"] = places
        if self.values == "fp16":
            return {**parts, "entries": rest.half()}
        amplitude = rest.abs().amax(1, keepdim=True)
        entries = {"entries": _whole(rest, amplitude), "entry_amplitudes": amplitude.half()}
        return {**parts, **entries}

    def _rounded(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        if self.values == "fp16":
            return {"left": left.half(), "right": right.half()}
        of_left, of_right = left.abs().amax(1, keepdim=True), right.abs().amax(2, keepdim=True)
        return {
            "left": _whole(left, of_left),
            "right": _whole(right, of_right),
            "amplitudes": (of_left.mT * of_right)[..., 0].half(),
        }


def _whole(numbers: Tensor, amplitude: Tensor) -> Tensor:
    """Numbers as int8, in proportion to the largest magnitude among them."""
    return (numbers * WHOLE / amplitude.clamp_min(LEAST)).round().to(torch.int8)


def restored_factors(parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Left (n, V, r) and right (n, r, C) factors, float32, from their stored parts."""
    left, right = parts["left"].float(), parts["right"].float()
    if "amplitudes" in parts:
        right = right * (parts["amplitudes"].float() / WHOLE**2)[..., None]
    return left, right


class Matrices:
    """Stored matrices, of which rows are read.

    Args:
        parts: as they are stored, on any device; `Coding.check` has seen them.
    """

    def __init__(self, coding: Coding, parts: Mapping[str, Tensor], device: torch.device) -> None:
        self.classes = coding.classes
        self._parts = {n: part.to(device) for n, part in parts.items() if n != "positions"}
        self._positions = coding.positions(parts).to(device) if coding.entries else None

    def rows(self, view: int, index: Tensor) -> Tensor:
        """Row `view` of the matrices `index`, float32 (B, C), on the device."""
        taken = {
            name: part[index, view : view + 1] if name == "left" else part[index]
            for name, part in self._parts.items()
        }
        left, right = restored_factors(taken)
        rows = (left @ right)[:, 0]
        if self._positions is None:
            return rows
        places = self._positions[index].long() - view * self.classes
        entries = taken["entries"].float()
        if "entry_amplitudes" in taken:
            entries = entries * (taken["entry_amplitudes"].float() / WHOLE)
        inside = (places >= 0) & (places < self.classes)
        return rows.scatter_add(1, places.clamp(0, self.classes - 1), entries * inside)
