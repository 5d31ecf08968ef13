"""Two methods, head to head: does the first beat the second, and at which bytes and time?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ..core.errors import UserError, unknown
from ..records.comparison import Comparison, Row, Setting
from ..records.statistics import LEAST_PAIRS, Paired, corrected
from . import names
from .leaderboard import Table, one_line
from .speeds import speeds


@dataclass(frozen=True)
class Pair:
    """Two rows of one comparison.

    Attributes:
        pair: the first against the second; its p corrected for all pairs_of that were asked for.
    """

    setting: Setting
    first: Row
    second: Row
    pair: Paired

    @property
    def verdict(self) -> str:
        """In a sentence."""
        pair = self.pair
        if pair.p is None or pair.difference is None:
            return f"n too small: {pair.n} of at least {LEAST_PAIRS} pairs of repeats."
        if not pair.differ:
            return "They cannot be told apart."
        better = self.first if pair.difference > 0 else self.second
        return f"{one_line(label(better))} is better."

    def text(self) -> str:
        """For the terminal."""
        lines = [one_line(self.setting.title)]
        called = [one_line(label(row)) for row in (self.first, self.second)]
        wide = max(map(len, called))
        for name, row in zip(called, (self.first, self.second), strict=True):
            mean, half = row.accuracy
            interval = "" if half is None else f" ± {100 * half:.2f}"
            needs = f", needs {one_line(row.prior)}" if row.prior else ""
            lines.append(
                f"  {name:<{wide}}  {100 * mean:.2f} %{interval}, n {row.n}, "
                f"{row.storage['total']:,} bytes{needs}"
            )
        return "\n".join([*lines, *self._difference(), self._times(), f"  {self.verdict}", ""])

    def _difference(self) -> list[str]:
        pair = self.pair
        if pair.difference is None:
            return ["  no repeat that both have"]
        points = f"  difference {100 * pair.difference:+.2f} points"
        if pair.half is not None:
            low, high = pair.difference - pair.half, pair.difference + pair.half
            points += f", 95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
        lines = [f"{points}, over {pair.n} pair{'s' if pair.n > 1 else ''} of repeats"]
        tests = [
            f"{name} {value:.2g}"
            for name, value in (
                ("over repeats", pair.p_repeats),
                ("over test images", pair.p_images),
                ("the larger, corrected,", pair.p),
            )
            if value is not None
        ]
        return [*lines, f"  p {', '.join(tests)}"]

    def _times(self) -> str:
        """How long a step takes beside the second's."""
        ratio = {speed.row.name: speed.ratio for speed in speeds([self.first, self.second])}
        one, two = ratio[self.first.name], ratio[self.second.name]
        return f"  step over bare step {one:.2f} and {two:.2f}, so {one / two:.2f} times as long"


def tables(pairs: Sequence[Pair]) -> list[Table]:
    """Many pairs as tables, one of each comparison, the largest difference first."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.setting.title, []).append(pair)
    return [_table(title, groups[title]) for title in groups]


def _table(title: str, pairs: Sequence[Pair]) -> Table:
    images = {row.images for pair in pairs for row in (pair.first, pair.second)}
    named = label if len(images) > 1 else (lambda row: row.method)
    told = [title] if len(images) > 1 else [title, f"images {images.pop()}"]
    lines = []
    for each in sorted(pairs, key=lambda p: -abs(p.pair.difference or 0)):
        pair, points, half = each.pair, each.pair.difference, each.pair.half
        lines.append(
            {
                "A": one_line(named(each.first)),
                "B": one_line(named(each.second)),
                "difference": "-" if points is None else f"{100 * points:+.2f}",
                "95 % interval": "-"
                if points is None or half is None
                else f"{100 * (points - half):+.2f} to {100 * (points + half):+.2f}",
                "n": f"{pair.n}",
                "p": "-" if pair.p is None else f"{pair.p:.2g}",
                "better": _better(each),
            }
        )
    short = pairs[0].setting.short
    return Table("compare", one_line(", ".join(told)), short, pd.DataFrame(lines))


def _better(pair: Pair) -> str:
    if pair.pair.p is None or pair.pair.difference is None:
        return "n too small"
    if not pair.pair.differ:
        return "not told apart"
    return "A" if pair.pair.difference > 0 else "B"


def label(row: Row) -> str:
    """A row's name with its image source: `rded/lpqld`."""
    return f"{row.images}/{row.method}"


def pairs_of(found: Sequence[Comparison], first: str, second: str) -> list[Pair]:
    """The first method against the second, wherever one comparison holds both.

    Args:
        first, second: a method as tables call it, or IMAGES/METHOD. Each name is looked up as a
            whole, so slashes inside either part do no harm. Where a name has no image source, it
            is the other's; where neither has one, each that holds both. A name without options
            that no row has by itself means all rows of that method, whatever their options.

    Raises:
        UserError: a name that no row has, the same name twice, or no comparison with both.
    """
    rows = [row for comparison in found for row in comparison.rows if row.n]
    known = {name for row in rows for name in (row.method, label(row))}
    plain = {_family(row) for row in rows}
    whole = {f"{row.images}/{_family(row)}" for row in rows}
    for name in (first, second):
        if name not in known | plain | whole:
            raise unknown("method or IMAGES/METHOD", name, whole if "/" in name else plain)
    one_of = [name if name in known else _Family(name) for name in (first, second)]
    pairs = []
    for comparison in found:
        places = [place for place, row in enumerate(comparison.rows) if row.n]
        for i in places:
            for j in places:
                one, two = comparison.rows[i], comparison.rows[j]
                if i != j and _meant(one, two, *one_of):
                    pairs.append(Pair(comparison.setting, one, two, _of(comparison, i, j)))
    if not pairs:
        same = first == second and first in known
        reason = "are the same" if same else "stand together in no comparison"
        raise UserError(
            f"{first!r} and {second!r} {reason}; name two methods that were measured on the same "
            "images, or IMAGES/METHOD for both."
        )
    tested = [pair.pair.p for pair in pairs if pair.pair.p is not None]
    fair = iter(corrected(tested))
    return [
        pair if pair.pair.p is None else replace(pair, pair=replace(pair.pair, p=next(fair)))
        for pair in pairs
    ]


class _Family(str):
    """The name of a method without its options, for all of its rows."""


def _family(row: Row) -> str:
    return names.label(row.method).family


def _meant(one: Row, two: Row, first: str, second: str) -> bool:
    """Whether these rows are what the names mean."""
    whole, alone = [], []
    for row, name in ((one, first), (two, second)):
        called = _family(row) if isinstance(name, _Family) else row.method
        whole.append(name == f"{row.images}/{called}")
        alone.append(name == called)
    matching = all(w or a for w, a in zip(whole, alone, strict=True))
    return all(whole) or (matching and one.images == two.images)


def _of(comparison: Comparison, i: int, j: int) -> Paired:
    """Two rows of a comparison as a pair; its p is not corrected."""
    pair = comparison.pairs[min(i, j), max(i, j)]
    both = (pair.p_repeats, pair.p_images)
    p = None if None in both else max(p for p in both if p is not None)
    return replace(pair if i < j else pair.turned, p=p)
