"""The networks that students and teachers can be, by name.

All start from random weights and give logits. A family of networks is one file of this folder, or
a plugin; see `network_family`. What it declares is read without importing it, or torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core import plugins
from ...core.errors import LONGEST, UserError, unknown

if TYPE_CHECKING:
    from torch import nn

    from ..network_family import NetworkFamily


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
    made: NetworkFamily = plugins.load(plugins.NETWORKS, family_of(name).plugin.name)()
    return made.create(name, classes, channels, resolution)


def module_of(name: str) -> str:
    """The dotted name of the one module that makes the network `name`; its code counts in keys.

    Raises:
        UserError: as `require`.
    """
    return plugins.module_of(plugins.NETWORKS, family_of(name).plugin.name)


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
    """What one family declares.

    Attributes:
        names, pattern, most: as in `NetworkFamily`.
    """

    plugin: plugins.Plugin
    names: dict[str, str]
    pattern: str
    most: dict[str, int]

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
    """Every family, in the order of their names; this project's own before others."""
    found = plugins.found(plugins.NETWORKS).values()
    for plugin in sorted(found, key=lambda plugin: (not plugin.builtin, plugin.name)):
        yield Family(
            plugin,
            plugin.literal("names", {}),
            plugin.literal("pattern", ""),
            plugin.literal("most", {}),
        )


def family_of(name: str) -> Family:
    """The family that makes the network `name`.

    Raises:
        UserError: none does, or several do, or a number in the name is too large.
    """
    answering = [family for family in families() if family.answers(name)]
    if not answering:
        raise unknown("network", name, names())
    if len(answering) > 1:
        told = " and ".join(family.plugin.name for family in answering)
        raise UserError(
            f"Network {name!r} is made by several families, {told}: have the author of the plugin "
            "call it otherwise."
        )
    return answering[0]
