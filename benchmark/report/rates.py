"""Rates: what each method's bytes buy, one curve against another in a single number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..records.bjontegaard import Delta, Point, delta, reaches
from ..records.comparison import Comparison, Row, repeat

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
        saves: of all labels' bytes, the share at which it brings `SHARE` of what they bring over
            hard ones; None where it never does, or one of them was not measured.
    """

    images: str
    method: str
    points: tuple[Point, ...]
    against: Delta | None
    saves: float | None


def rates(comparison: Comparison) -> list[Rate]:
    """The curves of a comparison: methods measured at several sizes, those that save most first."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if row.n and not row.control:
            curves.setdefault((row.images, without_budget(row.method)), []).append(row)
    made = []
    for (images, method), rows in curves.items():
        points = _points(rows)
        if len({point.bytes for point in points}) < 2:
            continue
        other = curves.get((images, AGAINST), [])
        against = delta(points, _points(other)) if other and method != AGAINST else None
        made.append(
            Rate(images, method, tuple(points), against, _saves(comparison, images, points))
        )
    return sorted(made, key=_order)


def without_budget(method: str) -> str:
    """A method's label without the option that sets its bytes."""
    return BUDGET.sub("", method).replace("[]", "")


def _points(rows: Sequence[Row]) -> list[Point]:
    made = [
        Point(row.storage["total"], {repeat(r): r["result"]["accuracy"] for r in row.records})
        for row in rows
    ]
    return sorted(made, key=lambda point: point.bytes)


def _saves(comparison: Comparison, images: str, points: Sequence[Point]) -> float | None:
    """Bytes for `SHARE` of the way from hard to all labels, over the bytes of all labels.

    Over the repeats that both controls and the curve have.
    """
    here = {row.control: row for row in comparison.rows if row.n and row.images == images}
    if "floor" not in here or "full" not in here:
        return None
    (low,), (high,) = _points([here["floor"]]), _points([here["full"]])
    shared = set(low.accuracies) & set(high.accuracies)
    shared = shared.intersection(*(point.accuracies for point in points))
    if not shared:
        return None
    floor, full = (sum(p.accuracies[r] for r in shared) / len(shared) for p in (low, high))
    kept = [Point(p.bytes, {r: p.accuracies[r] for r in shared}) for p in points]
    found = reaches(kept, floor + SHARE * (full - floor)) if full > floor else None
    return None if found is None else found / high.bytes


def _order(rate: Rate) -> tuple[str, float, str]:
    known = rate.against.bytes if rate.against and rate.against.bytes is not None else 0.0
    return rate.images, known, rate.method
