"""Speeds: what labels cost in time, in a comparison's rows, in profiles and in named ratios."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from ..records.comparison import Row
from ..records.record import Throughput
from ..records.speed import ProfileRecord, RatioRecord

PARTS = ("bare step", "rendering", "labels", "loss")  # of a step, as they are stacked


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


@dataclass(frozen=True)
class Profile:
    """Medians of one profile's repeats.

    Attributes:
        ms: milliseconds, by `PARTS`: the bare step; rendering; labels, with their views; what
            the source's loss takes beyond the bare one.
        forward, backward, optimiser: the bare step's milliseconds.
        views, targets: those of the labels.
        step: milliseconds of the whole step.
        ratio, lowest, highest: the whole step over the bare step.
        labels: a second; targets alone, as in the throughput table.
        read, made: bytes a second of stored labels, and of the targets that are made of them.
        test: seconds for 1,000 test images.
        copies: bytes a second of plain copies, by where they go.
    """

    record: ProfileRecord
    ms: dict[str, float]
    forward: float
    backward: float
    optimiser: float
    views: float
    targets: float
    step: float
    ratio: float
    lowest: float
    highest: float
    labels: float
    read: float
    made: float
    test: float
    copies: dict[str, float]


def profile(record: ProfileRecord) -> Profile:
    """The figures of a record."""
    seconds, evaluation = record["seconds"], record["evaluation"]
    bare, both = seconds["bare_step"], seconds["forward_backward"]
    ratios = [a / b for a, b in zip(seconds["step"], bare, strict=True)]
    views, targets = _ms(seconds["views"]), _ms(seconds["targets"])
    taken = median(seconds["targets"])
    return Profile(
        record,
        ms={
            "bare step": _ms(bare),
            "rendering": _ms(seconds["rendering"]),
            "labels": views + targets,
            "loss": _beyond(seconds["learning_step"], bare),
        },
        forward=_ms(seconds["forward"]),
        backward=_beyond(both, seconds["forward"]),
        optimiser=_beyond(bare, both),
        views=views,
        targets=targets,
        step=_ms(seconds["step"]),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        labels=record["batch"] / taken,
        read=record["labels"]["stored"] / taken,
        made=record["labels"]["targets"] / taken,
        test=1000 / evaluation["size"] * median(evaluation["seconds"]),
        copies={n: c["size"] / median(c["seconds"]) for n, c in record["copies"].items()},
    )


@dataclass(frozen=True)
class Ratio:
    """A named comparison's figures: medians of each side's seconds, and of the paired ratios."""

    record: RatioRecord
    first: float
    second: float
    ratio: float
    lowest: float
    highest: float

    @property
    def repeats(self) -> int:
        """How often each side was timed."""
        return len(self.record["first"]["seconds"])

    @property
    def commits(self) -> str:
        """Of the two sides; one where they are the same."""
        sides = (self.record["first"], self.record["second"])
        known = [str(side["environment"]["commit"] or "unknown") for side in sides]
        return " / ".join(dict.fromkeys(known))


def ratio(record: RatioRecord) -> Ratio:
    """The figures of a record."""
    first, second = record["first"]["seconds"], record["second"]["seconds"]
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    return Ratio(record, median(first), median(second), median(ratios), min(ratios), max(ratios))


def _ms(seconds: Sequence[float]) -> float:
    return 1000 * median(seconds)


def _beyond(over: Sequence[float], under: Sequence[float]) -> float:
    """Milliseconds that one takes longer than the other, in the median repeat; none if it does not.

    What is as fast differs by the clock's noise alone, which may be below zero.
    """
    return max(0.0, 1000 * median(a - b for a, b in zip(over, under, strict=True)))
