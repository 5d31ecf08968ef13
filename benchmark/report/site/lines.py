"""The lines of the tables: what is shown of each row of a comparison."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ...records.comparison import Comparison, Row, repeat
from ...records.statistics import Paired
from ..leaderboard import rank_texts
from ..names import Label, label
from ..speeds import Speed, speeds
from .text import record_name

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
        """What the row is called."""
        return label(self.row.method)

    @property
    def repeats(self) -> list[tuple[str, str]]:
        """Each record's draw (if not the first) and seed, and its page's name."""
        found = [(*repeat(r), record_name(r)) for r in self.row.records]
        return [(f"{draw}·{seed}" if draw else str(seed), name) for draw, seed, name in found]

    @property
    def soft(self) -> int:
        """Bytes of all soft labels."""
        return self.row.records[0]["storage"]["soft"]

    @property
    def prior_bytes(self) -> int:
        """Bytes of the prior; 0 without one."""
        return self.row.storage["prior"] if self.row.prior else 0


def lines(comparison: Comparison) -> list[Line]:
    """All rows of a comparison."""
    ranked = zip(comparison.rows, rank_texts(comparison), strict=True)
    return [Line(number, row, rank) for number, (row, rank) in enumerate(ranked, 1)]


def timed(found: Iterable[Line]) -> list[tuple[Line, Speed]]:
    """The speeds of lines, each with its line."""
    line_of = {line.row.name: line for line in found}
    return [(line_of[s.row.name], s) for s in speeds(line.row for line in line_of.values())]


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
