"""Label quantisation: how few numbers a label's logits are stored as, and how they come back.

What comes back are logits over all classes, so that a softmax at any temperature is a target:
classes that were dropped stand at minus infinity (their mass goes to the kept ones) or, for
marginal smoothing, at the level that gives them together the mass they had.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError
from benchmark.labels.artefact import StoredTensor
from benchmark.labels.container import like
from benchmark.labels.packing import packed_bytes, unpack, width_for
from benchmark.labels.teacher_logits import RESIDENT_BYTES, resident
from benchmark.labels.top_targets import TopLogits
from benchmark.labels.writer import PackedWriter, Stored, TensorWriter

Quantiser = Literal["mr", "ms", "adaptive", "smoothing", "hard", "none"]
Values = Literal["fp16", "bf16", "int8", "int4"]
FLOATS = {"fp16": torch.float16, "bf16": torch.bfloat16}
BITS = {"int8": 8, "int4": 4}
BLOCK = 2**18  # integers unpacked in one go


@dataclass(frozen=True)
class Coding:
    """How each label is stored.

    Attributes:
        form: `mr` keeps the k largest logits and renormalises over them (MR-k); `ms` keeps
            them and spreads the rest of the mass evenly (MS-k), `smoothing` is that with the
            largest alone; `adaptive` keeps as many as reach `mass`, renormalised; `hard` keeps
            the largest's class alone; `none` keeps all logits in class order. (FKD's names:
            Shen and Xing, ECCV 2022.)
        k: logits kept a label; 0 for `adaptive`, whose labels differ.
        values: what a logit is stored as. Whole numbers are distances from the label's largest
            logit (for `ms` from the level of the dropped classes) in steps of an fp16 scale of
            its own.
        mass: probability, at temperature 1, that `adaptive` keeps.
        temperature: at which `ms` gives the dropped classes just the mass they had. At others
            they share it as if they were alike.
    """

    classes: int
    form: Quantiser
    k: int
    values: Values
    mass: float
    temperature: float

    @property
    def above(self) -> bool:
        """Whether stored values are distances above the level of the dropped classes."""
        return self.form in ("ms", "smoothing")

    @property
    def index_width(self) -> int:
        """Bits of a class's index."""
        return width_for(self.classes)

    def stand_ins(self, labels: int) -> list[StoredTensor]:
        """What would be shipped of so many labels, without values; not for `adaptive`."""
        count = labels * self.k
        indices = like("indices", "indices", torch.uint8, packed_bytes(count, self.index_width))
        parts = [indices] if self.form != "none" else []
        if self.form == "hard":
            return parts
        if self.values not in BITS:
            return [*parts, like("values", "values", FLOATS[self.values], count)]
        packed = packed_bytes(count, BITS[self.values])
        values = like("values", "values", torch.uint8, packed)
        return [*parts, values, like("scales", "values", torch.float16, labels)]

    def bytes(self, labels: int) -> int:
        """Bytes of so many labels; not for `adaptive`, whose bytes depend on the logits."""
        return sum(part.bytes for part in self.stand_ins(labels))


class CodedWriter:
    """Labels that are coded and written as they come."""

    def __init__(self, coding: Coding, scratch: Path) -> None:
        self.coding = coding
        self._spools: dict[str, TensorWriter | PackedWriter] = {}
        if coding.form != "none":
            self._spools["indices"] = PackedWriter(scratch / "indices", coding.index_width)
        if coding.form == "adaptive":
            self._spools["counts"] = PackedWriter(scratch / "counts", coding.index_width)
        if coding.form == "hard":
            return
        if coding.values in BITS:
            self._spools["values"] = PackedWriter(scratch / "values", BITS[coding.values])
            self._spools["scales"] = TensorWriter(scratch / "scales", torch.float16)
        else:
            self._spools["values"] = TensorWriter(scratch / "values", FLOATS[coding.values])

    def add(self, logits: Tensor) -> None:
        """Code and append the labels of one batch, (B, C); -inf marks a class unknown."""
        coding, logits = self.coding, logits.float()
        if coding.form == "none":
            kept, indices = logits, None
        else:
            kept, indices = logits.topk(coding.k or coding.classes, dim=1)
        stays = torch.ones_like(kept, dtype=torch.bool)
        if coding.form == "adaptive":
            shares = kept.softmax(1)
            # What came before was not enough; rounding may ask for unknown classes too.
            stays = (shares.cumsum(1) - shares < coding.mass) & (kept > -math.inf)
            self._spools["counts"].add(stays.sum(1) - 1)
        if indices is not None:
            self._spools["indices"].add(indices[stays])
        if coding.form == "hard":
            return
        if coding.above:
            assert indices is not None
            dropped = logits.scatter(1, indices, -math.inf) / coding.temperature
            level = dropped.logsumexp(1, keepdim=True) - math.log(coding.classes - coding.k)
            kept = kept - coding.temperature * level
        if coding.values in BITS:
            kept = self._whole(kept, stays)
        self._spools["values"].add(kept[stays])

    def _whole(self, kept: Tensor, stays: Tensor) -> Tensor:
        """Distances in steps of each label's scale, which is appended."""
        coding = self.coding
        far = kept if coding.above else kept.amax(1, keepdim=True) - kept
        far = far.clamp_min(0).masked_fill(~stays, 0)
        levels = 2 ** BITS[coding.values] - 1
        scale = (far.amax(1) / levels).half().clamp_min(2.0**-24)  # fp16's smallest above zero
        self._spools["scales"].add(scale)
        return (far / scale.float()[:, None]).round().clamp(0, levels)

    def labels(self) -> "CodedLabels":
        """All labels; nothing can be added afterwards."""
        return CodedLabels(self.coding, {n: s.stored() for n, s in self._spools.items()})


PARTS = ("values", "scales", "indices", "counts")


class CodedLabels:
    """Stored labels, on disk or in memory.

    Attributes:
        parts: `values` and `scales`, `indices` and `counts`, as far as the coding has them.
    """

    def __init__(self, coding: Coding, parts: Mapping[str, Tensor | Stored]) -> None:
        """Labels from their parts, which lie on disk or on the CPU."""
        self.coding, self.parts = coding, parts
        self._unpacked: dict[str, Tensor] = {}

    def to(self, device: torch.device) -> Self:
        """These labels, in memory on the device if they are small (`resident`).

        Integers are unpacked once where they fit as whole ones; else at every read.
        """
        if self.coding.form == "adaptive":
            _ = self._ends  # counted before the counts leave the CPU
        elif self._unpackable:
            self._unpacked = {name: part.to(device) for name, part in self._rows.items()}
            del self._rows
            return self
        self.parts = {
            name: resident(part, device) if isinstance(part, Tensor) else part
            for name, part in self.parts.items()
        }
        return self

    def tensors(self) -> Iterator[StoredTensor]:
        """What is shipped."""
        for name, part in self.parts.items():
            yield StoredTensor(name, "values" if name in ("values", "scales") else "indices", part)

    def check(self, labels: int) -> None:
        """Refuse parts that are not those of so many labels.

        Raises:
            ArtefactError: one is missing, of another type or length, or names no class.
        """
        coding, parts = self.coding, self.parts
        if coding.k > coding.classes or (coding.k == 0 and coding.form != "adaptive"):
            raise ArtefactError(f"Labels of {coding.classes} classes cannot keep {coding.k}.")
        count = labels * coding.k
        if coding.form == "adaptive":
            length = packed_bytes(labels, coding.index_width)
            _fits(parts, "counts", torch.uint8, length)
            count = int(self._ends[labels])
        layout: dict[str, tuple[torch.dtype, int]] = {}
        if coding.form != "none":
            layout["indices"] = torch.uint8, packed_bytes(count, coding.index_width)
        if coding.form != "hard" and coding.values in BITS:
            layout["values"] = torch.uint8, packed_bytes(count, BITS[coding.values])
            layout["scales"] = torch.float16, labels
        elif coding.form != "hard":
            layout["values"] = FLOATS[coding.values], count
        for name, (dtype, length) in layout.items():
            _fits(parts, name, dtype, length)
        if coding.form == "none" or not count or coding.classes == 2**coding.index_width:
            return
        if self._unpackable:  # `to` needs them next
            highest = int(self._rows["indices"][:labels].max())
        else:
            blocks = ((start, min(BLOCK, count - start)) for start in range(0, count, BLOCK))
            each = (unpack(parts["indices"], coding.index_width, *block) for block in blocks)
            highest = max(int(some.max()) for some in each)
        if highest >= coding.classes:
            raise ArtefactError(
                f"A label has a logit for class {highest}, but there are {coding.classes} classes."
            )

    @property
    def sparse(self) -> bool:
        """Whether `top` has them: all labels keep the same number of classes, and not all."""
        return self.coding.form not in ("adaptive", "none")

    def logits(self, rows: slice, device: torch.device) -> Tensor:
        """The labels of `rows` as logits over all classes, float32 (B, C)."""
        if self.sparse:
            return self.top(rows, device).dense()
        coding, parts, count = self.coding, self.parts, rows.stop - rows.start
        if coding.form == "none":
            start, stop = rows.start * coding.k, rows.stop * coding.k
            owner = torch.arange(stop - start, device=device) // coding.k
            return self._values(start, stop, rows, owner).view(count, coding.classes)
        start, stop = self._ends[[rows.start, rows.stop]].tolist()
        counts = unpack(parts["counts"], coding.index_width, rows.start, count) + 1
        place = torch.arange(count, device=counts.device)
        owner = place.repeat_interleave(counts, output_size=stop - start)
        owner = owner.to(device, non_blocking=True)
        values = self._values(start, stop, rows, owner)
        indices = unpack(parts["indices"], coding.index_width, start, stop - start)
        indices = indices.to(device, non_blocking=True)
        full = values.new_full((count, coding.classes), -math.inf)
        return full.index_put_((owner, indices), values)

    def top(self, rows: slice, device: torch.device) -> TopLogits:
        """The labels of `rows` as logits of the classes that they keep; of `sparse` labels."""
        coding, whole, count = self.coding, self._unpacked, rows.stop - rows.start
        others = coding.classes - coding.k if coding.above else 0
        if whole:
            indices = whole["indices"][rows].long()
            values = self._whole_values(rows)
        else:
            start, stop = rows.start * coding.k, rows.stop * coding.k
            owner = torch.arange(stop - start, device=device) // coding.k
            values = self._values(start, stop, rows, owner).view(count, coding.k)
            packed = unpack(self.parts["indices"], coding.index_width, start, stop - start)
            indices = packed.view(count, coding.k).to(device, non_blocking=True)
        return TopLogits(indices, values, others, coding.classes)

    def _whole_values(self, rows: slice) -> Tensor:
        """Kept logits of unpacked labels, up to a shift of each; (B, k)."""
        whole = self._unpacked
        if self.coding.form == "hard":
            return torch.zeros_like(whole["indices"][rows], dtype=torch.float32)
        if "scales" not in whole:
            return whole["values"][rows].float()
        return whole["values"][rows] * whole["scales"][rows]

    @property
    def _unpackable(self) -> bool:
        """Whether the labels have a number of integers each that fit as whole ones."""
        if not self.sparse:
            return False
        coding, packed = self.coding, self.parts["indices"]
        assert isinstance(packed, Tensor)
        count = len(packed) * 8 // coding.index_width
        return count * (_integer(coding.classes).itemsize + 2) <= RESIDENT_BYTES

    @cached_property
    def _rows(self) -> dict[str, Tensor]:
        """All labels as rows of integers, and their scales, negative for distances below."""
        coding, parts = self.coding, self.parts
        if coding.form == "hard":  # perhaps some too many: of the last byte's bits
            labels = len(parts["indices"]) * 8 // coding.index_width
        else:
            labels = len(parts["scales" if coding.values in BITS else "values"])
            labels = labels if coding.values in BITS else labels // coding.k
        count = labels * coding.k

        def rows(name: str, width: int, dtype: torch.dtype) -> Tensor:
            whole = torch.empty(count, dtype=dtype)
            for start in range(0, count, BLOCK):
                some = min(BLOCK, count - start)
                whole[start : start + some] = unpack(parts[name], width, start, some)
            return whole.view(labels, coding.k)

        made = {"indices": rows("indices", coding.index_width, _integer(coding.classes))}
        if coding.form == "hard":
            return made
        if coding.values in BITS:
            made["values"] = rows("values", BITS[coding.values], torch.uint8)
            scales = parts["scales"][:labels].float()[:, None]
            made["scales"] = scales if coding.above else -scales
        else:
            made["values"] = parts["values"][:count].view(labels, coding.k)
        return made

    def _values(self, start: int, stop: int, rows: slice, owner: Tensor) -> Tensor:
        """Kept logits, up to a shift of each label that a softmax does not see; (n,)."""
        coding, parts = self.coding, self.parts
        if coding.form == "hard":
            return torch.zeros(stop - start, device=owner.device)
        if coding.values not in BITS:
            return parts["values"][start:stop].to(owner.device, non_blocking=True).float()
        steps = unpack(parts["values"], BITS[coding.values], start, stop - start)
        scale = parts["scales"][rows].to(owner.device, non_blocking=True).float()
        far = steps.to(owner.device, non_blocking=True) * scale[owner]
        return far if coding.above else -far

    @cached_property
    def _ends(self) -> Tensor:
        """Where each label's kept logits end, after a 0; int64, on the CPU."""
        counts = self.parts["counts"]
        labels = len(counts) * 8 // self.coding.index_width
        each = unpack(counts, self.coding.index_width, 0, labels).cpu() + 1
        return torch.cat([each.new_zeros(1), each.cumsum(0)])


def _integer(classes: int) -> torch.dtype:
    """The smallest type that holds a class's index."""
    return torch.uint8 if classes <= 2**8 else torch.int16 if classes <= 2**15 else torch.int32


def _fits(parts: Mapping[str, Tensor | Stored], name: str, dtype: torch.dtype, length: int) -> None:
    part = parts.get(name)
    if part is None or part.dtype != dtype or part.shape != (length,):
        raise ArtefactError(f"The labels' {name} are missing, or not {length} numbers of {dtype}.")
