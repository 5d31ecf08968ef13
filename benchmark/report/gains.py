"""Gains: what each row's bytes and seconds buy over hard labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, median
from typing import TypeVar

from ..records.comparison import Comparison, Row, repeat
from ..records.record import Record
from .in_all import form_of, in_all

Of = TypeVar("Of")
LABELS, ALL = "labels", "in all"  # bytes that a frontier is over


@dataclass(frozen=True)
class Gain:
    """One row's accuracy beside its bytes and its time.

    Attributes:
        in_all: bytes of all that must be there, images as the comparison's `form_of` says.
        frontiers: which of `LABELS` and `ALL` no row on the same images beats at no more bytes.
        over_hard: mean accuracy above hard labels' on the same images, 0..1, over the repeats that
            both have; None of hard labels themselves, and where they or such repeats are missing.
        seconds: that a student's training takes in this comparison's world, lowest, median and
            highest: the row's ratios to the bare step in its repeats, times the bare step's median
            over all of the comparison's records, times the optimiser steps. Ratios are of steps
            that took turns, so what slowed the machine down while one row was measured counts for
            nothing. None of old records, which do not tell the steps.
    """

    row: Row
    in_all: int
    frontiers: tuple[str, ...]
    over_hard: float | None
    seconds: tuple[float, float, float] | None

    @property
    def per_kilobyte(self) -> float | None:
        """Points of accuracy over hard labels for 1,000 bytes of labels."""
        if self.over_hard is None or not self.row.storage["total"]:
            return None
        return 100 * self.over_hard / (self.row.storage["total"] / 1000)

    @property
    def per_second(self) -> float | None:
        """Points of accuracy over hard labels for a second of a student's training."""
        if self.over_hard is None or self.seconds is None:
            return None
        return 100 * self.over_hard / self.seconds[1]


def gains(comparison: Comparison) -> list[Gain]:
    """Those of all rows that have records, by image source and rising bytes of labels."""
    rows = [row for row in comparison.rows if row.n]
    form = form_of(rows)
    hard = {row.images: row for row in rows if row.control == "floor"}
    whole = {row.name: in_all(row, form) or 0 for row in rows}
    bare = [s for row in rows for r in row.records for s in r["throughput"]["seconds_bare_step"]]
    best: dict[str, set[tuple[str, str]]] = {LABELS: set(), ALL: set()}
    for images in {row.images for row in rows if not row.baseline}:
        here = [row for row in rows if row.images == images]
        for over, size in (
            (LABELS, lambda row: row.storage["total"]),
            (ALL, lambda row: whole[row.name]),
        ):
            kept = pareto(here, size, lambda row: row.accuracy[0])
            best[over] |= {row.name for row in kept}
    made = [
        Gain(
            row,
            whole[row.name],
            tuple(over for over, names in best.items() if row.name in names),
            None if row.control == "floor" else _over(row, hard.get(row.images)),
            _seconds(row, median(bare)),
        )
        for row in rows
    ]
    return sorted(made, key=lambda g: (g.row.images, g.row.storage["total"], g.row.method))


def pareto(
    found: Iterable[Of], size: Callable[[Of], float], accuracy: Callable[[Of], float]
) -> list[Of]:
    """Those that no other one beats at as few bytes or fewer, from few bytes to many."""
    best: list[Of] = []
    for one in sorted(found, key=lambda one: (size(one), -accuracy(one))):
        if not best or accuracy(one) > accuracy(best[-1]):
            best.append(one)
    return best


def _over(row: Row, hard: Row | None) -> float | None:
    """Mean accuracy of a row above another's, over the repeats that both have."""
    if hard is None:
        return None
    low = {repeat(r): r["result"]["accuracy"] for r in hard.records}
    both = [r["result"]["accuracy"] - low[repeat(r)] for r in row.records if repeat(r) in low]
    return fmean(both) if both else None


def _seconds(row: Row, bare_step: float) -> tuple[float, float, float] | None:
    steps = [_steps(record) for record in row.records]
    if None in steps:
        return None
    ratios = [
        whole / bare
        for record in row.records
        for whole, bare in zip(
            record["throughput"]["seconds_step"],
            record["throughput"]["seconds_bare_step"],
            strict=True,
        )
    ]
    bare = bare_step * fmean(count for count in steps if count is not None)
    return min(ratios) * bare, median(ratios) * bare, max(ratios) * bare


def _steps(record: Record) -> int | None:
    """Optimiser steps of a training; every epoch shows every image once (see `ViewPlan`)."""
    classes = record["inputs"].get("classes")
    if classes is None:
        return None
    batches = -(-classes * record["cell"]["ipc"] // record["throughput"]["batch"])
    return len(record["result"]["train_loss"]) * batches
