"""The columns of tables of storage and speed: each defined once, for every form of table.

Terminal, Markdown, CSV, LaTeX and the site all show these. A new column is a new entry here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..records.comparison import Row
from ..records.ledger import times_smaller
from .gains import Gain
from .in_all import in_all
from .rates import AGAINST, SHARE, Rate, bytes_text, points_text, saving_text
from .speeds import PARTS, Profile, Ratio, Speed

Of = TypeVar("Of")


@dataclass(frozen=True)
class Column(Generic[Of]):
    """One figure of each line of a table.

    Attributes:
        name: its heading.
        value: of a line, by which tables are sorted; None where there is none.
        text: how it is shown.
        as_papers: whether it counts as papers do, beside what this suite measures.
    """

    name: str
    value: Callable[[Of], float | None]
    text: Callable[[Of], str]
    as_papers: bool = False


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
    ratio = f"{soft / total:.1f}x"
    larger = total > soft and ratio != "1.0x"  # all labels themselves come in a container
    return f"{ratio} (more than all labels)" if larger else ratio


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
    Column("lowest..highest", lambda s: s.lowest, lambda s: f"{s.lowest:.2f}..{s.highest:.2f}"),
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


RATES: tuple[Column[Rate], ...] = (
    Column("budgets", lambda r: len(r.points), lambda r: f"{len(r.points)}"),
    Column(
        "bytes",
        lambda r: r.points[0].bytes,
        lambda r: f"{r.points[0].bytes:,.0f} to {r.points[-1].bytes:,.0f}",
    ),
    Column(
        f"bytes against {AGAINST}",
        lambda r: r.against and r.against.bytes,
        lambda r: bytes_text(r.against),
    ),
    Column(
        f"points against {AGAINST}",
        lambda r: r.against and r.against.points,
        lambda r: points_text(r.against),
    ),
    Column(
        f"bytes in all against {AGAINST}",
        lambda r: r.in_all and r.in_all.bytes,
        # Where curves share no accuracy, it is said once.
        lambda r: "-" if r.in_all is None or r.in_all.bytes is None else bytes_text(r.in_all),
    ),
    Column(
        f"bytes against soft, at {100 * SHARE:.0f} % of its gain",
        lambda r: r.saves.bytes,
        lambda r: saving_text(r.saves),
    ),
)
FRONTIER: tuple[Column[Gain], ...] = (
    Column("bytes", lambda g: g.row.storage["total"], lambda g: f"{g.row.storage['total']:,}"),
    Column("in all", lambda g: g.in_all, lambda g: f"{g.in_all:,}"),
    Column("accuracy %", lambda g: g.row.accuracy[0], lambda g: f"{100 * g.row.accuracy[0]:.2f}"),
    Column("frontier", lambda g: len(g.frontiers), lambda g: " and ".join(g.frontiers) or "-"),
    Column(
        "over hard",
        lambda g: g.over_hard,
        lambda g: "-" if g.over_hard is None else f"{100 * g.over_hard:+.2f}",
    ),
    _known("points a kB", lambda g: g.per_kilobyte),
    Column("training (s)", lambda g: g.seconds and g.seconds[1], _training),
    _known("points a second", lambda g: g.per_second),
)

# Milliseconds of a step; its parts as they are stacked, then what they are made of.
PROFILE: tuple[Column[Profile], ...] = (
    *(_figures(name, lambda profile, name=name: profile.ms[name]) for name in PARTS),
    _figures("step", lambda profile: profile.step),
    Column("ratio to bare step", lambda p: p.ratio, lambda p: f"{p.ratio:.2f}"),
    Column("lowest..highest", lambda p: p.lowest, lambda p: f"{p.lowest:.2f}..{p.highest:.2f}"),
    _figures("forward", lambda profile: profile.forward),
    _figures("backward", lambda profile: profile.backward),
    _figures("optimiser", lambda profile: profile.optimiser),
    _figures("views", lambda profile: profile.views),
    _figures("targets", lambda profile: profile.targets),
    Column("labels/s", lambda p: p.labels, lambda p: f"{p.labels:,.0f}"),
    Column("stored MB/s", lambda p: p.read, lambda p: _per_second(p.read)),
    Column("targets MB/s", lambda p: p.made, lambda p: _per_second(p.made)),
    _figures("1,000 tests (s)", lambda profile: profile.test),
    _figures("fit (s)", lambda profile: profile.record["seconds_fit"]),
    Column(
        "peak (MB)",
        lambda p: p.record["memory"]["bytes"],
        lambda p: figure(p.record["memory"]["bytes"] / 1e6),
    ),
)
RATIO: tuple[Column[Ratio], ...] = (
    Column("ratio", lambda r: r.ratio, lambda r: f"{r.ratio:.3g}"),
    Column("lowest..highest", lambda r: r.lowest, lambda r: f"{r.lowest:.3g}..{r.highest:.3g}"),
    Column("first takes", lambda r: r.first, lambda r: duration(r.first)),
    Column("second takes", lambda r: r.second, lambda r: duration(r.second)),
    Column("repeats", lambda r: r.repeats, lambda r: f"{r.repeats}"),
)
