"""Agreement: how often a classifier, or stored labels, name the class that an image shows.

Every join asks this before anything is trained: a teacher with its dataset, images of others
with the teacher, labels of others with images. A mismatch that another order of the classes
explains is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

FEWEST = 8  # views of classes that stand elsewhere; fewer show no order


@dataclass(frozen=True)
class Agreement:
    """What was found of pairs of a known class and a named one.

    Attributes:
        right, seen: pairs that agree, and all.
        classes: how many there are.
        order: the class that is named where each is shown, int64 (classes,), a permutation; None
            where none but the classes' own order explains more.
        in_order: pairs that agree once the classes are put in that order.
    """

    right: int
    seen: int
    classes: int
    order: Tensor | None = None
    in_order: int = 0

    @property
    def share(self) -> float:
        """Of the pairs that agree, 0..1; 1 of none."""
        return self.right / self.seen if self.seen else 1.0

    @property
    def uncertainty(self) -> float:
        """Three standard errors of the share, at most."""
        return 1.5 / sqrt(max(1, self.seen))

    @property
    def by_chance(self) -> float:
        """The share that chance stays below, but for one time in a thousand."""
        chance = 1 / self.classes
        return min(1.0, chance + 3 * sqrt(chance * (1 - chance) / max(1, self.seen)))


def agreement(named: Tensor, shown: Tensor, classes: int) -> Agreement:
    """The agreement of named classes, int64 (N,), with those that are shown.

    Another order is found where each class shown is mostly named as one other, no two as the
    same, and that is so of enough views.
    """
    named, shown = named.cpu(), shown.cpu()
    right = int((named == shown).sum())
    pairs, counts = torch.unique(shown * classes + named, return_counts=True)
    rows, columns = pairs // classes, pairs % classes
    order, held = _modes(rows, columns, counts, classes)
    views = torch.bincount(shown, minlength=classes)
    moved = (order != torch.arange(classes)) & (views > 0)
    distinct = len(order[views > 0].unique()) == int((views > 0).sum())
    clear = bool((2 * held[moved] > views[moved]).all()) and int(held[moved].sum()) >= FEWEST
    if not moved.any() or not distinct or not clear:
        return Agreement(right, len(shown), classes)
    return Agreement(right, len(shown), classes, _filled(order, views > 0), int(held.sum()))


def _modes(rows: Tensor, columns: Tensor, counts: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The class named most often for each one shown (its own among equals), and how often."""
    order, held = torch.arange(classes), torch.zeros(classes, dtype=torch.int64)
    first = torch.argsort(2 * counts + (rows == columns), stable=True)  # the last of a row stays
    order[rows[first]], held[rows[first]] = columns[first], counts[first]
    return order, held


def _filled(order: Tensor, known: Tensor) -> Tensor:
    """The permutation with classes that were not shown put where there is room, in order."""
    left = torch.ones_like(known)
    left[order[known]] = False
    order = order.clone()
    order[~known] = torch.nonzero(left).squeeze(1)
    return order


def mismatch(found: Agreement, least: float, names: Sequence[str]) -> str:
    """What is wrong with an agreement, as the end of a sentence; empty if it is at least `least`.

    One that another order of the classes explains is wrong whatever its share.
    """
    told = f"the class is the known one in {found.right} of {found.seen} views ({found.share:.1%})"
    if found.order is not None:
        explained = found.in_order / found.seen
        return f"{told}; in {explained:.1%} if {described(found.order, names)}"
    if found.share >= least:
        return ""
    return (
        f"{told}, where at least {least:.1%} is asked for and chance gives {1 / found.classes:.1%}"
    )


def described(order: Tensor, names: Sequence[str]) -> str:
    """A permutation in words."""
    classes = len(order)
    places = torch.arange(classes)
    step = int(order[0]) % classes
    if torch.equal(order, (places + step) % classes):
        return f"each class stands {step} further on (the last ones come first)"
    as_text = torch.empty(classes, dtype=torch.int64)
    as_text[torch.tensor(sorted(range(classes), key=lambda c: str(names[c])))] = places
    if torch.equal(order, as_text):
        return "the classes stand in the order of their names as text"
    if torch.equal(order, as_text.argsort()):
        return "the classes' names, sorted as text, stand for those in their own order"
    moved = [c for c in range(classes) if int(order[c]) != c]
    shown = ", ".join(f"{names[c]!r} is {names[int(order[c])]!r}" for c in moved[:3])
    return f"{len(moved)} classes stand elsewhere: {shown}{', ...' if len(moved) > 3 else ''}"
