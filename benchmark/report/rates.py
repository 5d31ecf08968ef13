"""Rates: what each method's bytes buy, one curve against another in a single number."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..records.bjontegaard import Delta, Point, Saving, delta, saving
from ..records.comparison import Comparison, Row, repeat
from .in_all import form_of, in_all

AGAINST = "lpqld"  # the curve that all others are held against, where it is there
SHARE = 0.95  # of what all labels bring over hard ones
BUDGET = re.compile(r"(?<=[\[,])budget=[^,\]]*,?|,budget=[^,\]]*(?=\])")


@dataclass(frozen=True)
class Rate:
    """One method on one image source, over its byte budgets.

    Attributes:
        method: its label without the budget.
        points: measured settings, by rising bytes.
        against: its Bjøntegaard delta against `AGAINST`; None for that itself, or without it.
        in_all: likewise, over all bytes that must be there; images as `form_of` says.
        saves: bytes over those of all labels where it brings `SHARE` of what they bring over hard
            ones.
    """

    images: str
    method: str
    points: tuple[Point, ...]
    against: Delta | None
    in_all: Delta | None
    saves: Saving


def rates(comparison: Comparison) -> list[Rate]:
    """The curves of a comparison: methods measured at several sizes, those that save most first."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if row.n and not row.control:
            curves.setdefault((row.images, without_budget(row.method)), []).append(row)
    form = form_of(row for row in comparison.rows if row.n)

    def whole(row: Row) -> int:
        """All bytes that must be there for it."""
        return in_all(row, form) or 0

    made = []
    for (images, method), rows in curves.items():
        points = _points(rows, _labels)
        if len({point.bytes for point in points}) < 2:
            continue
        other = curves.get((images, AGAINST), []) if method != AGAINST else []
        against = delta(points, _points(other, _labels)) if other else None
        both = delta(_points(rows, whole), _points(other, whole)) if other else None
        saves = _saves(comparison, images, points)
        made.append(Rate(images, method, tuple(points), against, both, saves))
    return sorted(made, key=_order)


def without_budget(method: str) -> str:
    """A method's label without the option that sets its bytes."""
    return BUDGET.sub("", method).replace("[]", "")


def _labels(row: Row) -> int:
    return row.storage["total"]


def _points(rows: Sequence[Row], size: Callable[[Row], int]) -> list[Point]:
    """Of rows that ship anything: a curve is over the logarithm of bytes."""
    made = [
        Point(size(row), {repeat(r): r["result"]["accuracy"] for r in row.records})
        for row in rows
        if size(row)
    ]
    return sorted(made, key=lambda point: point.bytes)


def _saves(comparison: Comparison, images: str, points: Sequence[Point]) -> Saving:
    """Bytes for `SHARE` of the way from hard to all labels, over the bytes of all labels."""
    here = {row.control: row for row in comparison.rows if row.n and row.images == images}
    if lacks := [name for name in ("floor", "full") if name not in here]:
        names = {"floor": "hard labels", "full": "all labels"}
        words = " and ".join(names[lack] for lack in lacks)
        return Saving(why_not=f"{words} not measured")
    (low,), (high,) = (
        _points([here[name]], lambda row: max(1, _labels(row))) for name in ("floor", "full")
    )
    return saving(points, low, high, SHARE)


def _order(rate: Rate) -> tuple[str, float, str]:
    known = rate.against.bytes if rate.against and rate.against.bytes is not None else 0.0
    return rate.images, known, rate.method


def change(
    share: float | None, interval: tuple[float, float] | None, unit: str, digits: int
) -> str:
    """A share in hundredths with its sign, and its interval; empty without one."""
    if share is None:
        return ""
    text = f"{100 * share:+.{digits}f}{unit}"
    if interval is None:
        return text
    low, high = ("never" if math.isinf(end) else f"{100 * end:+.{digits}f}" for end in interval)
    return f"{text} ({low} to {high})"


def bytes_text(found: Delta | None) -> str:
    """Its bytes at equal accuracy, or why there are none."""
    if found is None:
        return "-"
    return change(found.bytes, found.bytes_interval, " %", 0) or found.why_no_bytes


def points_text(found: Delta | None) -> str:
    """Its points at equal bytes, or why there are none."""
    if found is None:
        return "-"
    return change(found.points, found.points_interval, "", 1) or found.why_no_points


def saving_text(found: Saving) -> str:
    """Its bytes, or why there are none; says so where the fewest measured suffice."""
    text = change(found.bytes, found.interval, " %", 1)
    return ("at its fewest bytes: " * found.at_least + text) if text else found.why_not
