"""What small steps of a network tell of all, and a table of networks that take long to import.

The table, `traced.json`, holds what the shipped grids ask of networks that timm and open_clip
make: a dry run has nothing else to import them for, and that takes longer than all that it does.
It is read where torch and they have the minor versions by which it was made, and made by
`tests/traced_table.py`.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from ..core.work import PRIOR

FEW = 2  # images of the smaller of two steps; batch norm asks for two
TABLE = Path(__file__).parent / "traced.json"
LIBRARIES = ("torch", "timm", "open_clip_torch")  # whose versions decide what stands there
Line = tuple[int, int]


@dataclass(frozen=True)
class Traced:
    """What two small steps of a network tell of all.

    Attributes:
        weights: bytes of parameters and buffers.
        moved: bytes of parameters.
        lines: bytes that live beside them at some moment, with FEW images, and what each further
            image adds to them: the moments that are a batch's most, for one batch or another.
    """

    weights: int
    moved: int
    lines: tuple[Line, ...]

    def most(self, batch: int) -> int:
        """Bytes that live beside the weights, at the most, in a step on so many images."""
        return max(few + each * (batch - FEW) for few, each in self.lines)


def upper(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Those of some lines that are the highest for a batch of one image or more, from left on."""
    found = [max(lines, key=lambda line: (line[0] - line[1], line[1]))]  # the highest at one image
    while steeper := [line for line in lines if line[1] > found[-1][1]]:
        few, each = found[-1]
        found.append(min(steeper, key=lambda one: ((few - one[0]) / (one[1] - each), -one[1])))
    return tuple(found)


@cache
def known() -> dict[str, Traced]:
    """The steps in the table, by `Footprint.key`."""
    return {
        key: Traced(weights, moved, tuple((few, each) for few, each in lines))
        for key, (weights, moved, lines) in _table()["steps"].items()
    }


def sketch(name: str, size: tuple[int, int, int]) -> nn.Module | None:
    """A network that can be built for images of a size, as its batch norms alone.

    Args:
        size: classes, channels and pixels a side.

    Returns:
        None where the table does not know it.
    """
    norms = _table()["norms"].get(size_key(name, size))
    return None if norms is None else nn.Sequential(*map(nn.BatchNorm2d, norms))


def size_key(name: str, size: tuple[int, int, int]) -> str:
    """By which the table knows a network that is built for images of a size."""
    return json.dumps([name, *size])


def import_bytes(networks: Iterable[str]) -> int:
    """Bytes that a process will hold more once it has imported what makes these networks."""
    told = _table()["imports"]
    needed = {"open_clip" if name.startswith(PRIOR) else "timm" for name in networks}
    return max((told[name] for name in needed if name not in sys.modules), default=0)


@cache
def _table() -> dict[str, Any]:
    told = json.loads(TABLE.read_text(encoding="utf-8"))
    empty = {"imports": {}, "steps": {}, "norms": {}}
    return told if told["libraries"] == libraries() else empty


def libraries() -> dict[str, str]:
    """The minor versions, as they are here, that a table would hold for."""
    return {name: ".".join(version(name).split(".")[:2]) for name in LIBRARIES}
