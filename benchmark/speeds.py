"""Speeds: what labels cost in time, on each hardware and precision apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from .comparison import Row
from .records import Record, Throughput


@dataclass(frozen=True)
class Speed:
    """Medians of one row's timings on one hardware, over all repeats and seeds.

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


def speeds(rows: Iterable[Row]) -> dict[str, list[Speed]]:
    """Those of each hardware and precision, by name; least ratio first, and never mixed."""
    there: dict[str, list[Speed]] = {}
    for row in rows:
        timed: dict[str, list[Record]] = {}
        for record in row.records:
            timed.setdefault(hardware(record), []).append(record)
        for name, records in timed.items():
            there.setdefault(name, []).append(_speed(row, records))
    return {
        name: sorted(there[name], key=lambda s: (s.ratio, s.row.name)) for name in sorted(there)
    }


def hardware(record: Record) -> str:
    """What a record was timed on: `NVIDIA H100, bf16`; of a CPU also its name."""
    timing = record["throughput"]
    cpu = f"{record['environment'].get('cpu')}, " if "CPU" in timing["hardware"] else ""
    return f"{cpu}{timing['hardware']}, {timing['precision']}"


def _speed(row: Row, records: Sequence[Record]) -> Speed:
    timings = [record["throughput"] for record in records]
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
        fit=median(record["result"]["seconds_fit"] for record in records),
    )


def _paired(timings: Iterable[Throughput], over: str, under: str) -> list[float]:
    """Ratios of each repeat's two times; none of a record that lacks one of them."""
    return [
        a / b
        for timing in timings
        if under in timing
        for a, b in zip(timing[over], timing[under], strict=True)
    ]
