"""The columns of tables of storage and speed: each defined once, for every form of table.

Terminal, Markdown, CSV, LaTeX and the site all show these. A new column is a new entry here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from ..records.comparison import Row
from ..records.ledger import times_smaller
from .gains import ALL, LABELS, Gain
from .in_all import in_all
from .rates import AGAINST, SHARE, Rate, bytes_text, points_text, saving_text
from .speeds import PARTS, Profile, Ratio, Speed

Of = TypeVar("Of")
Raw: TypeAlias = "float | int | str | bool | None"


@dataclass(frozen=True)
class Column(Generic[Of]):
    """One figure of each line of a table.

    Attributes:
        name: its heading.
        value: of a line, by which tables are sorted; None where there is none.
        text: how it is shown.
        as_papers: whether it counts as papers do, beside what this suite measures.
        raw: numbers for programs by their names, in bytes, seconds and shares of one; the value
            under the heading if it says nothing.
    """

    name: str
    value: Callable[[Of], float | None]
    text: Callable[[Of], str]
    as_papers: bool = False
    raw: Callable[[Of], Mapping[str, Raw]] | None = None

    def numbers(self, of: Of) -> Mapping[str, Raw]:
        """What files for programs hold of a line."""
        return {self.name: self.value(of)} if self.raw is None else self.raw(of)


def _bytes(name: str, value: Callable[[Row], int | None], as_papers: bool = False) -> Column[Row]:
    return Column(name, value, lambda row: bytes_or_none(value(row)), as_papers)


def bytes_or_none(size: float | None) -> str:
    """Bytes in full; `-` where records do not tell them."""
    return "-" if size is None else f"{size:,.0f}"


def _ratio(row: Row) -> str:
    """How much smaller than all labels; a method that is larger says so."""
    soft, total = row.storage["soft"], row.storage["total"]
    if not total:
        return "nothing is shipped"
    ratio = times(soft / total)
    larger = total > soft and ratio != "1.0x"  # all labels themselves come in a container
    return f"{ratio} (more than all labels)" if larger else ratio


def times(ratio: float) -> str:
    """A ratio with one digit behind the point, or two that count where it is small."""
    return f"{ratio:.1f}x" if ratio >= 0.1 else f"{ratio:.2g}x"


def _range(speed: Speed | Profile | Ratio) -> dict[str, Raw]:
    return {"lowest": speed.lowest, "highest": speed.highest}


STORAGE: tuple[Column[Row], ...] = (
    _bytes("values", lambda row: row.storage["values"]),
    _bytes("indices", lambda row: row.storage["indices"]),
    _bytes("views", lambda row: row.storage["views"]),
    _bytes("weights", lambda row: row.storage["weights"]),
    _bytes("container", lambda row: row.storage["container"]),
    _bytes("total", lambda row: row.storage["total"]),
    Column("ratio", lambda row: times_smaller(row.storage["soft"], row.storage["total"]), _ratio),
    _bytes("prior", lambda row: row.storage["prior"] if row.prior else 0),
    _bytes("teacher", lambda row: row.storage["teacher"]),
    _bytes("images (B)", lambda row: row.storage["images"]),
    _bytes("in all, raw", lambda row: in_all(row, "raw")),
    _bytes("in all, PNG", lambda row: in_all(row, "PNG")),
    _bytes("in all, JPEG", lambda row: in_all(row, "JPEG")),
    _bytes("logits", lambda row: row.storage["values"] + row.storage["indices"], True),
    _bytes("parameters", lambda row: row.storage["parameters"], True),
    _bytes("blocks", lambda row: row.storage["blocks"], True),
)
THROUGHPUT: tuple[Column[Speed], ...] = (
    Column("labels/s", lambda s: s.labels, lambda s: f"{s.labels:,.0f}"),
    Column("images/s", lambda s: s.images, lambda s: f"{s.images:,.0f}"),
    Column("ratio to bare step", lambda s: s.ratio, lambda s: f"{s.ratio:.2f}"),
    Column(
        "lowest..highest",
        lambda s: s.lowest,
        lambda s: f"{s.lowest:.2f}..{s.highest:.2f}",
        raw=_range,
    ),
    Column("share of step", lambda s: s.share, lambda s: f"{s.share:.1%}"),
    Column(
        "over floor",
        lambda s: s.over_floor,
        lambda s: "-" if s.over_floor is None else f"{s.over_floor:.2f}x",
    ),
    Column("repeats", lambda s: s.repeats, lambda s: f"{s.repeats}"),
    Column("fit (s)", lambda s: s.fit, lambda s: f"{s.fit:.1f}"),
)


def _figures(name: str, value: Callable[[Profile], float]) -> Column[Profile]:
    """A figure of profiles in three digits or more."""
    return Column(name, value, lambda profile: figure(value(profile)))


def figure(value: float) -> str:
    """Three digits, or all of a larger number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _per_second(value: float) -> str:
    """Bytes a second, in MB; nothing of what reads none."""
    return figure(value / 1e6) if value else "-"


def duration(seconds: float) -> str:
    """Seconds in three digits, in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{figure(seconds / size)} {unit}"
    return f"{figure(seconds / 1e-6)} us"


def _known(name: str, value: Callable[[Gain], float | None], scale: float = 1) -> Column[Gain]:
    """A figure of gains in three digits or more; `-` where there is none."""

    def text(gain: Gain) -> str:
        known = value(gain)
        return "-" if known is None else figure(scale * known)

    return Column(name, value, text)


def _training(gain: Gain) -> str:
    """Seconds with their range, which tells how far quotients of them may be trusted."""
    if gain.seconds is None:
        return "-"
    low, middle, high = map(figure, gain.seconds)
    return f"{middle} ({low}..{high})"


def _delta(name: str, share: float | None, interval: tuple[float, float] | None) -> dict[str, Raw]:
    """A change as a share of one, and its interval's ends, `never` where resamples have none."""
    low, high = interval or (None, None)
    return {
        name: share,
        f"{name}, low": low,
        f"{name}, high": "never" if high is not None and math.isinf(high) else high,
    }


def _rate(
    name: str,
    of: Callable[[Rate], tuple[float | None, tuple[float, float] | None]],
    text: Callable[[Rate], str],
) -> Column[Rate]:
    """A change with its interval."""
    return Column(name, lambda r: of(r)[0], text, raw=lambda r: _delta(name, *of(r)))


RATES: tuple[Column[Rate], ...] = (
    Column("budgets", lambda r: len(r.points), lambda r: f"{len(r.points)}"),
    Column(
        "bytes",
        lambda r: r.points[0].bytes,
        lambda r: f"{r.points[0].bytes:,.0f} to {r.points[-1].bytes:,.0f}",
        raw=lambda r: {"fewest bytes": r.points[0].bytes, "most bytes": r.points[-1].bytes},
    ),
    _rate(
        f"bytes against {AGAINST}",
        lambda r: (r.against.bytes, r.against.bytes_interval) if r.against else (None, None),
        lambda r: bytes_text(r.against),
    ),
    _rate(
        f"points against {AGAINST}",
        lambda r: (r.against.points, r.against.points_interval) if r.against else (None, None),
        lambda r: points_text(r.against),
    ),
    _rate(
        f"bytes in all against {AGAINST}",
        lambda r: (r.in_all.bytes, r.in_all.bytes_interval) if r.in_all else (None, None),
        # Where curves share no accuracy, it is said once.
        lambda r: "-" if r.in_all is None or r.in_all.bytes is None else bytes_text(r.in_all),
    ),
    _rate(
        f"bytes against soft, at {100 * SHARE:.0f} % of its gain",
        lambda r: (r.saves.bytes, r.saves.interval),
        lambda r: saving_text(r.saves),
    ),
)
FRONTIER: tuple[Column[Gain], ...] = (
    Column("bytes", lambda g: g.row.storage["total"], lambda g: f"{g.row.storage['total']:,}"),
    Column("in all", lambda g: g.in_all, lambda g: f"{g.in_all:,}"),
    Column(
        "accuracy %",
        lambda g: g.row.accuracy[0],
        lambda g: f"{100 * g.row.accuracy[0]:.2f}",
        raw=lambda g: {"accuracy": g.row.accuracy[0]},
    ),
    Column(
        "frontier",
        lambda g: len(g.frontiers),
        lambda g: " and ".join(g.frontiers) or "-",
        raw=lambda g: {f"frontier over {over}": over in g.frontiers for over in (LABELS, ALL)},
    ),
    Column(
        "over hard",
        lambda g: g.over_hard,
        lambda g: "-" if g.over_hard is None else f"{100 * g.over_hard:+.2f}",
    ),
    _known("points a kB", lambda g: g.per_kilobyte),
    Column(
        "training (s)",
        lambda g: g.seconds and g.seconds[1],
        _training,
        raw=lambda g: dict(
            zip(
                ("training (s), lowest", "training (s)", "training (s), highest"),
                g.seconds or (None, None, None),
                strict=True,
            )
        ),
    ),
    _known("points a second", lambda g: g.per_second),
)

# Milliseconds of a step; its parts as they are stacked, then what they are made of.
PROFILE: tuple[Column[Profile], ...] = (
    *(_figures(name, lambda profile, name=name: profile.ms[name]) for name in PARTS),
    _figures("step", lambda profile: profile.step),
    Column("ratio to bare step", lambda p: p.ratio, lambda p: f"{p.ratio:.2f}"),
    Column(
        "lowest..highest",
        lambda p: p.lowest,
        lambda p: f"{p.lowest:.2f}..{p.highest:.2f}",
        raw=_range,
    ),
    _figures("forward", lambda profile: profile.forward),
    _figures("backward", lambda profile: profile.backward),
    _figures("optimiser", lambda profile: profile.optimiser),
    _figures("views", lambda profile: profile.views),
    _figures("targets", lambda profile: profile.targets),
    Column("labels/s", lambda p: p.labels, lambda p: f"{p.labels:,.0f}"),
    Column(
        "stored MB/s",
        lambda p: p.read,
        lambda p: _per_second(p.read),
        raw=lambda p: {"stored bytes a second": p.read},
    ),
    Column(
        "targets MB/s",
        lambda p: p.made,
        lambda p: _per_second(p.made),
        raw=lambda p: {"targets' bytes a second": p.made},
    ),
    _figures("1,000 tests (s)", lambda profile: profile.test),
    _figures("fit (s)", lambda profile: profile.record["seconds_fit"]),
    Column(
        "peak (MB)",
        lambda p: p.record["memory"]["bytes"],
        lambda p: figure(p.record["memory"]["bytes"] / 1e6),
        raw=lambda p: {"peak bytes": p.record["memory"]["bytes"]},
    ),
)
RATIO: tuple[Column[Ratio], ...] = (
    Column("ratio", lambda r: r.ratio, lambda r: f"{r.ratio:.3g}"),
    Column(
        "lowest..highest",
        lambda r: r.lowest,
        lambda r: f"{r.lowest:.3g}..{r.highest:.3g}",
        raw=_range,
    ),
    Column(
        "first takes",
        lambda r: r.first,
        lambda r: duration(r.first),
        raw=lambda r: {"first takes (s)": r.first},
    ),
    Column(
        "second takes",
        lambda r: r.second,
        lambda r: duration(r.second),
        raw=lambda r: {"second takes (s)": r.second},
    ),
    Column("repeats", lambda r: r.repeats, lambda r: f"{r.repeats}"),
)
