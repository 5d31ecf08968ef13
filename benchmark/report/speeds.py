"""Speeds: what labels cost in time, in the one world of a comparison."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from ..records.comparison import Row
from ..records.record import Throughput


@dataclass(frozen=True)
class Speed:
    """Medians of one row's timings, over all repeats and seeds.

    Attributes:
        labels, images: a second; targets alone, and the whole step.
        ratio, lowest, highest: the whole step over the bare step.
        share: of the targets in the whole step's time.
        over_floor: targets' seconds over those of the bare network; None where there is none.
        repeats: of the timings.
        fit: seconds.
    """

    row: Row
    labels: float
    images: float
    ratio: float
    lowest: float
    highest: float
    share: float
    over_floor: float | None
    repeats: int
    fit: float


def speeds(rows: Iterable[Row]) -> list[Speed]:
    """Those of one comparison's rows; least ratio first."""
    return sorted(map(_speed, rows), key=lambda speed: (speed.ratio, speed.row.name))


def _speed(row: Row) -> Speed:
    timings = [record["throughput"] for record in row.records]
    batch = timings[0]["batch"]
    ratios = _paired(timings, "seconds_step", "seconds_bare_step")
    floors = _paired(timings, "seconds_targets", "seconds_floor")
    return Speed(
        row,
        labels=batch / median(s for t in timings for s in t["seconds_targets"]),
        images=batch / median(s for t in timings for s in t["seconds_step"]),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        share=median(_paired(timings, "seconds_targets", "seconds_step")),
        over_floor=median(floors) if floors else None,
        repeats=len(ratios),
        fit=median(record["result"]["seconds_fit"] for record in row.records),
    )


def _paired(timings: Iterable[Throughput], over: str, under: str) -> list[float]:
    """Ratios of each repeat's two times; none of a record that lacks one of them."""
    return [
        a / b
        for timing in timings
        if under in timing
        for a, b in zip(timing[over], timing[under], strict=True)
    ]
