"""Relabelling in shards: each is a function of its batches' numbers alone, made by any process.

A shard is a stage (`core.cache`), so it is found by all that share the work folder, in whatever
order and wherever it was made; a killed relabelling goes on at the first shard that is missing.
What is read from shards is to the bit what the teacher gives in one go.
"""

import copy
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.cache import Cache
from ..core.errors import UserError
from ..core.files import read_json, write_json
from ..core.progress import track
from ..data.images import ResidentImages
from ..data.views import ViewBatch, ViewPlan
from .ensemble import Teachers
from .relabelling import Relabelling
from .teacher_logits import label_batches
from .writer import Joined, Stored, TensorWriter

if TYPE_CHECKING:
    from .task import LabelTask

KIND = "relabelled"  # of its stages
BYTES = "LABELBENCH_SHARD_BYTES"  # of the environment: what a shard holds at most
USUAL_BYTES = 64 * 2**20
LOGITS, SECONDS = "logits", "seconds.json"


class LabelShards:
    """The teacher's logits for a plan's views, in shards.

    Args:
        cache: of the work folder.
        key: what decides the logits, beside the plan and which teacher it is.
        plan: whose views are labelled.
        classes: how many.

    Attributes:
        spared: seconds that each shard took which was there already; a fit's cost counts them.
    """

    def __init__(self, cache: Cache, key: Mapping[str, Any], plan: ViewPlan, classes: int) -> None:
        self._cache, self._key, self._plan, self._classes = cache, key, plan, classes
        self._teachers: Teachers = "final"
        self._of: tuple[ResidentImages, nn.Module | None] | None = None
        self._used: set[Path] = set()
        self.spared: list[float] = []

    def of(
        self, images: ResidentImages, teacher: nn.Module | None, teachers: Teachers = "final"
    ) -> "LabelShards":
        """The same for a task of these images and this teacher, or of others than before."""
        other = copy.copy(self)
        other._of, other._teachers = (images, teacher), teachers
        return other

    def serve(self, task: "LabelTask") -> bool:
        """Whether these are the labels of a task: of its images, plan and teacher."""
        if self._of is None or task.plan != self._plan:
            return False
        return task.images is self._of[0] and task.teacher is self._of[1]

    def missing(self, asked: Relabelling) -> dict[Path, Sequence[int]]:
        """The stage of each shard that a fit reads and nobody has made, and its batches.

        Labels that fill no more than one shard are made by the fit: none.
        """
        other, found = copy.copy(self), self.parts(asked.numbers)
        other._teachers = asked.teachers
        missing = [part for part in found if len(found) > 1 and not other.made(part)]
        return {self._cache.folder(KIND, other._key_of(part)): part for part in missing}

    def parts(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        """Batches in runs that fall into the same shard of the plan, in their order."""
        each = self._each
        return [list(run) for _, run in groupby(numbers, lambda number: number // each)]

    @property
    def _each(self) -> int:
        """Batches of a shard.

        Raises:
            UserError: the environment names no number of bytes.
        """
        text = os.environ.get(BYTES, str(USUAL_BYTES))
        if not text.isdigit() or not int(text):
            raise UserError(f"{BYTES} is a number of bytes from 1, got {text!r}.")
        return max(1, int(text) // (2 * self._classes * self._plan.sizes()[0]))

    def make(self, task: "LabelTask", numbers: Sequence[int], label: str = "label views") -> Path:
        """The stage of one shard, made if it is not there.

        Args:
            numbers: one of those that `parts` gives.

        Raises:
            UserError: see `teacher_logits`.
        """

        def build(folder: Path) -> None:
            started = time.perf_counter()
            writer = TensorWriter(folder / LOGITS, torch.float16, (task.classes,))
            for _, rows in label_batches(task, numbers, label):
                writer.add(rows)
            write_json(folder / SECONDS, time.perf_counter() - started)

        there = self.made(numbers)
        folder = self._cache.make(KIND, self._key_of(numbers), build)
        if there and folder not in self._used:
            self.spared.append(read_json(folder / SECONDS, float))
        self._used.add(folder)
        return folder

    def made(self, numbers: Sequence[int]) -> bool:
        """Whether the shard of these batches is there."""
        return self._cache.done(KIND, self._key_of(numbers))

    def read(
        self, task: "LabelTask", numbers: Sequence[int], label: str
    ) -> Iterator[tuple[ViewBatch, Tensor]]:
        """What `teacher_logits` gives, from shards; those that are missing are made on the way.

        Labels that fill no more than one shard, which nobody has made, are made without any.
        """
        if not self._kept(numbers):
            yield from label_batches(task, numbers, label)
            return
        for folder, whole, part in self._shards(task, numbers, label):
            for number, (stored, rows) in zip(part, _rows(task, folder, whole, part), strict=True):
                views = task.plan.batch(*divmod(number, task.plan.batches))
                yield views, stored[rows].to(task.device)

    def stored(self, task: "LabelTask", numbers: range, label: str) -> Stored | None:
        """The logits that `read` gives, fp16 (n, C), as they lie in the shards.

        Returns:
            None where labels are made without any shard.
        """
        if not self._kept(numbers):
            return None
        parts = []
        for shard in self._shards(task, numbers, label):
            (stored, first), *rest = _rows(task, *shard)
            parts.append((stored, slice(first.start, rest[-1][1].stop if rest else first.stop)))
        return Joined(parts)

    def _kept(self, numbers: Sequence[int]) -> bool:
        """Whether labels fill more than one shard, or are in one that is there."""
        found = self.parts(numbers)
        return len(found) > 1 or self._holding(found[0]) is not None

    def _shards(
        self, task: "LabelTask", numbers: Sequence[int], label: str
    ) -> Iterator[tuple[Path, Sequence[int], Sequence[int]]]:
        """Each shard's stage, the batches that it holds, and those asked for."""
        found = self.parts(numbers)
        for place, part in enumerate(track(found, label), 1):
            whole = self._holding(part) or part
            yield self.make(task, whole, f"{label}, shard {place} of {len(found)}"), whole, part

    def _holding(self, part: Sequence[int]) -> Sequence[int] | None:
        """The batches of a shard that is there and holds these; None if none is."""
        each = self._each
        first = part[0] // each * each
        last = min(first + each, self._plan.steps)
        return next((n for n in (part, range(first, last)) if self.made(n)), None)

    def _key_of(self, numbers: Sequence[int]) -> dict[str, Any]:
        plan = asdict(self._plan)
        del plan["epochs"]  # views are a function of their address alone
        return {**self._key, "plan": plan, "teachers": self._teachers, "batches": _spelled(numbers)}


def _spelled(numbers: Sequence[int]) -> list[int] | str:
    """Batches in a key: a range by its ends, others one by one."""
    first, last = numbers[0], numbers[-1]
    found = list(numbers)
    return f"{first}-{last}" if found == list(range(first, last + 1)) else found


def _rows(
    task: "LabelTask", folder: Path, held: Sequence[int], asked: Sequence[int]
) -> Iterator[tuple[Stored, slice]]:
    """Where the logits of the batches asked for lie, of the shard that holds those."""
    sizes, starts, rows = task.plan.sizes(), {}, 0
    for number in held:
        starts[number] = rows
        rows += sizes[number % task.plan.batches]
    stored = Stored(folder / LOGITS, torch.float16, (rows, task.classes))
    for number in asked:
        start = starts[number]
        yield stored, slice(start, start + sizes[number % task.plan.batches])
