"""The networks that students and teachers can be, by name.

All start from random weights and give logits. A family of networks is one file of this folder,
found by being there; files that begin with an underscore are none. It declares, as literals that
are read without importing it (or torch):

- `NAMES`: name and one-line description of each of its networks;
- `PATTERN`, optional: a regular expression of further names that it answers;
- `MOST`, optional: the largest number that a named group of the pattern may hold.

and it has `create(name, classes, channels, resolution)`, which is only given names it declares.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import LONGEST, UserError, unknown

if TYPE_CHECKING:
    from torch import nn


def names() -> dict[str, str]:
    """Name and one-line description of every network; parameters without the last layer's."""
    return {name: line for family in families() for name, line in family.names.items()}


def require(name: str) -> None:
    """Raise unless `name` can be a network; names of timm's are looked up by `create`.

    Raises:
        UserError: there is no such network, or it is larger than its family goes.
    """
    family_of(name)


def create(name: str, classes: int, channels: int, resolution: int) -> nn.Module:
    """The network `name` with random weights, drawn from torch's global generator.

    It maps normalised pixels (B, channels, resolution, resolution) to logits (B, classes).

    Raises:
        UserError: there is no such network, or it does not take such images.
    """
    module = importlib.import_module(module_of(name))
    return module.create(name, classes, channels, resolution)


def module_of(name: str) -> str:
    """The dotted name of the one module that makes the network `name`; its code counts in keys.

    Raises:
        UserError: as `require`.
    """
    return family_of(name).module


def headless(network: nn.Module, classes: int) -> int:
    """Take the last linear layer off, in place: the network then gives the features before it.

    Returns:
        How many features there are.

    Raises:
        UserError: the network does not end in a linear layer.
    """
    from torch import nn

    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    last: Any = network.get_submodule(linear[-1]) if linear else None
    if last is None or last.out_features != classes:
        raise UserError(
            f"A {type(network).__name__} does not end in a linear layer of {classes} classes, so "
            "there are no features before it; take a network such as convnet-d3 or lenet."
        )
    network.set_submodule(linear[-1], nn.Identity())
    return last.in_features


@dataclass(frozen=True)
class Family:
    """What one file declares.

    Attributes:
        module: its dotted name.
        names, pattern, most: its `NAMES`, `PATTERN` and `MOST`.
    """

    module: str
    names: dict[str, str]
    pattern: str = ""
    most: dict[str, int] = field(default_factory=dict)

    def answers(self, name: str) -> bool:
        """Whether this family makes `name`.

        Raises:
            UserError: it would, if a number in the name were not too large.
        """
        if name in self.names:
            return True
        match = re.fullmatch(self.pattern, name) if self.pattern else None
        for what, most in self.most.items():
            # As floats: Python refuses to make whole numbers of thousands of digits.
            if match and float(match[what] or 0) > most:
                shown = name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."
                raise UserError(f"Network {shown!r} is too large: its {what} is at most {most}.")
        return match is not None


def families() -> Iterator[Family]:
    """Every family, in the order of their files."""
    for file in sorted(f for folder in __path__ for f in Path(folder).glob("[!_]*.py")):
        yield _declared(f"{__name__}.{file.stem}", file)


def family_of(name: str) -> Family:
    """The family that makes the network `name`.

    Raises:
        UserError: none does, or a number in the name is too large.
    """
    for family in families():
        if family.answers(name):
            return family
    raise unknown("network", name, names())


@cache
def _declared(module: str, file: Path) -> Family:
    found = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("NAMES", "PATTERN", "MOST"):
                found[name.lower()] = ast.literal_eval(node.value)
    return Family(module, **found)
