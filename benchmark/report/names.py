"""Names for readers: `LPQLD 40x` for `lpqld[calibrate=false,budget=40x]`.

Records name a method by all its options, which tells settings apart and reads badly. Tables for
people show its title and its size; the full label stands beside, in a tooltip or a caption.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ..core import plugins
from .pictures import family

OPTIONS = re.compile(r"(?:\[(.*)\])?(?: \((.*)\))?", re.DOTALL)
BUDGET = "budget="  # as labels write a byte budget
MOST_DIGITS = 18  # of a budget in bytes
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Label:
    """A method as records call it, in its parts: `lpqld[k=4,budget=40x]`.

    Attributes:
        family: the method without its options.
        options: those in brackets, then those that only tell rows apart.
    """

    family: str
    options: tuple[str, ...]

    @property
    def budget(self) -> str:
        """Its byte budget as the label says it; empty without one."""
        said = [o.removeprefix(BUDGET) for o in self.options if o.startswith(BUDGET)]
        return said[0] if said else ""

    @property
    def others(self) -> tuple[str, ...]:
        """The options that are no byte budget."""
        return tuple(option for option in self.options if not option.startswith(BUDGET))


def label(method: str) -> Label:
    """The parts of a method's label."""
    name = family(method)
    match = OPTIONS.fullmatch(method, len(name))
    if match is None:
        return Label(name, (method[len(name) :],))
    inside = [*(match[1] or "").split(","), *(match[2] or "").split(", ")]
    return Label(name, tuple(part for part in inside if part))


@cache
def title(name: str) -> str:
    """What readers call a method; its name where it is not installed here."""
    plugin = plugins.found(plugins.METHODS).get(name)
    return (plugin.description.title if plugin is not None else "") or name


def short_name(method: str) -> str:
    """A method for readers: its title, and its budget as a ratio or in few figures."""
    parts = label(method)
    plain = parts.budget.isdecimal() and len(parts.budget) <= MOST_DIGITS
    sized = size(int(parts.budget)) if plain else parts.budget
    return " ".join(filter(None, [title(parts.family), sized]))


def short_names(methods: Iterable[str]) -> dict[str, str]:
    """Short names of the methods of one table, told apart by their options.

    Where two would be alike, the options in which they differ stand behind: `HeLlO, epochs=3`.
    """
    alike: dict[str, list[str]] = {}
    for method in dict.fromkeys(methods):
        alike.setdefault(short_name(method), []).append(method)
    made = {}
    for name, those in alike.items():
        options = [set(label(method).others) for method in those]
        shared = set.intersection(*options)
        for method in those:
            apart = [option for option in label(method).others if option not in shared]
            made[method] = ", ".join([name, *apart])
    return made


def size(count: int) -> str:
    """Bytes in few figures: 7.4 MB."""
    amount = float(count)
    for unit in UNITS:
        if amount < 999.5 or unit == UNITS[-1]:
            break
        amount /= 1000
    return f"{count} B" if unit == "B" else f"{amount:.3g} {unit}"
