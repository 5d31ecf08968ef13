"""The lines of the tables: what is shown of each row of a comparison."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from ..comparison import Comparison, Row, repeat
from ..leaderboard import by_hardware, rank_texts, step_ratios
from ..records import Record
from ..statistics import Paired
from .text import Label, label, record_name

PARTS = ("values", "indices", "views", "weights", "container")  # of the ledger


@dataclass(frozen=True)
class Line:
    """One row, as tables show it.

    Attributes:
        number: its place in the comparison, from 1.
        rank: `2=` where others share it; see `rank_texts`.
    """

    number: int
    row: Row
    rank: str

    @cached_property
    def label(self) -> Label:
        return label(self.row.method)

    @property
    def repeats(self) -> list[tuple[str, str]]:
        """Each record's draw (if not the first) and seed, and its page's name."""
        found = [(*repeat(r), record_name(r["key"])) for r in self.row.records]
        return [(f"{draw}·{seed}" if draw else str(seed), name) for draw, seed, name in found]

    @property
    def soft(self) -> int:
        """Bytes of all soft labels."""
        return self.row.records[0]["storage"]["soft"]

    @property
    def prior_bytes(self) -> int:
        return self.row.storage["prior"] if self.row.prior else 0


def lines(comparison: Comparison) -> list[Line]:
    """All rows of a comparison."""
    ranked = zip(comparison.rows, rank_texts(comparison), strict=True)
    return [Line(number, row, rank) for number, (row, rank) in enumerate(ranked, 1)]


@dataclass(frozen=True)
class Speed:
    """One line of a throughput table.

    Attributes:
        over_floor: targets' seconds over those of the bare network, if there is one.
    """

    line: Line
    labels: float
    images: float
    ratio: float
    lowest: float
    highest: float
    share: float
    over_floor: float | None
    repeats: int
    fit: float


def speeds(found: Iterable[Line]) -> dict[str, list[Speed]]:
    """Throughput for each hardware and precision, each least ratio first."""
    line_of = {line.row.name: line for line in found}
    timed = by_hardware(line.row for line in line_of.values())
    return {
        name: sorted(
            (_speed(line_of[row.name], records) for row, records in timed[name]),
            key=lambda s: (s.ratio, s.line.number),
        )
        for name in sorted(timed)
    }


def _speed(line: Line, records: Sequence[Record]) -> Speed:
    timings = [r["throughput"] for r in records]
    targets = [s for t in timings for s in t["seconds_targets"]]
    steps = [s for t in timings for s in t["seconds_step"]]
    floors = [
        s / floor
        for t in timings
        for s, floor in zip(t["seconds_targets"], t.get("seconds_floor", ()), strict=False)
    ]
    ratios = step_ratios(records)
    return Speed(
        line,
        labels=timings[0]["batch"] / median(targets),
        images=timings[0]["batch"] / median(steps),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        share=median(s / step for s, step in zip(targets, steps, strict=True)),
        over_floor=median(floors) if floors else None,
        repeats=len(ratios),
        fit=median(r["result"]["seconds_fit"] for r in records),
    )


@dataclass(frozen=True)
class Pair:
    """One cell of the matrix of pairs: the row's method less the column's.

    Attributes:
        points: mean difference in points of accuracy.
        verdict: `better` or `worse` where shown, `same` where not, `few` where too few repeats.
    """

    points: str
    half: str
    p: str
    n: int
    verdict: str


def matrix(comparison: Comparison) -> list[list[Pair | None]]:
    """The pairs of all rows that have records; None on the diagonal."""
    count = sum(row.n > 0 for row in comparison.rows)
    made: list[list[Pair | None]] = [[None] * count for _ in range(count)]
    for (i, j), pair in comparison.pairs.items():
        made[i][j], made[j][i] = _pair(pair, 1), _pair(pair, -1)
    return made


def _pair(pair: Paired, sign: int) -> Pair:
    if pair.difference is None:
        return Pair("–", "", "", pair.n, "few")
    points = f"{100 * sign * pair.difference:+.2f}".replace("-", "−")
    half = "" if pair.half is None else f"{100 * pair.half:.2f}"
    if pair.p is None:
        return Pair(points, half, "", pair.n, "few")
    verdict = "same" if not pair.differ else "better" if sign * pair.difference > 0 else "worse"
    return Pair(points, half, "<.001" if pair.p < 0.001 else f"{pair.p:.3f}", pair.n, verdict)
