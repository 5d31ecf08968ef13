"""The frontier: accuracy over the bytes that are shipped, as pictures for papers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..records.comparison import Comparison, Row
from .leaderboard import one_line
from .pictures import (
    MOST_BESIDE,
    Picture,
    arrange,
    colours_of,
    entries,
    family,
    numbered,
    save,
    style,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP<X>ph8"
DASHES = ("-", "--", "-.", (0, (8, 2, 2, 2, 2, 2)), (0, (4, 4)), (0, (12, 3)))
NEAR = 11.0  # points; a number further from its point is tied to it


@dataclass(frozen=True)
class Point:
    """One method on one image source.

    Attributes:
        accuracy: mean over repeats, in %.
        half: half of its 95 % interval, in %; None where there are too few.
        prior: bytes of the public model that must be there, else 0.
    """

    images: str
    method: str
    bytes: int
    accuracy: float
    half: float | None
    prior: int


def draw(found: Iterable[Comparison], folder: Path) -> list[Path]:
    """Write all pictures into `folder`."""
    return save(figures(found), folder)


def figures(found: Iterable[Comparison]) -> list[Picture]:
    """One picture for each dataset, student, recipe and teacher, on and off protocol."""
    found = list(found)
    colours = colours_of(found)
    sources = distilled_sources(found)
    groups: dict[str, list[Comparison]] = {}
    for comparison in found:
        groups.setdefault(comparison.setting.family, []).append(comparison)
    made = []
    for title, members in sorted(groups.items()):
        at = members[0].setting
        short = f"{at.dataset} {at.student} {at.recipe}"
        with style():
            made.append(Picture("frontier", title, short, _draw(title, members, colours, sources)))
    return made


def distilled_sources(found: Iterable[Comparison]) -> list[str]:
    """The image sources that are not baselines: those have a frontier, the others stand hollow."""
    rows = [row for comparison in found for row in comparison.rows]
    return sorted({row.images for row in rows} - {row.images for row in rows if row.baseline})


def point(row: Row) -> Point:
    """A row that has records, as a point."""
    mean, half = row.accuracy
    prior = row.storage["prior"] if row.prior else 0
    scaled = None if half is None else 100 * half
    return Point(row.images, row.method, row.storage["total"], 100 * mean, scaled, prior)


def frontier(found: Iterable[Point]) -> list[Point]:
    """The points that no other one beats at as few bytes or fewer, from few bytes to many."""
    best: list[Point] = []
    for point in sorted(found, key=lambda p: (p.bytes, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def _draw(
    title: str,
    members: Sequence[Comparison],
    colours: Mapping[str, str],
    sources: Sequence[str],
) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_ipc: dict[int, list[Row]] = {}
    for comparison in sorted(members, key=lambda c: c.setting.ipc):
        # In one order whatever the ranks, as later points cover earlier ones.
        rows = sorted((row for row in comparison.rows if row.n), key=lambda row: row.name)
        by_ipc.setdefault(comparison.setting.ipc, []).extend(rows)
    panels = {ipc: [point(row) for row in rows] for ipc, rows in by_ipc.items()}
    numbers = numbered((row for rows in by_ipc.values() for row in rows), list(colours))
    looks = {
        source: {"marker": MARKERS[i % len(MARKERS)], "linestyle": DASHES[i % len(DASHES)]}
        for i, source in enumerate(sources)
    }

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    lines = math.ceil(len(panels) / MOST_BESIDE)
    beside = math.ceil(len(panels) / lines)
    axes = figure.subplots(lines, beside, squeeze=False).ravel()
    for spare in axes[len(panels) :]:
        spare.remove()
    axes = axes[: len(panels)]
    for panel, (ipc, found) in zip(axes, panels.items(), strict=True):
        full = sorted({record["storage"]["soft"] for row in by_ipc[ipc] for record in row.records})
        _panel(panel, found, full, colours, looks)
        panel.set_title(f"IPC {ipc}", loc="left", fontsize=9, fontweight="bold", pad=14)
        panel.set_xlabel("bytes shipped beyond the images")
    for panel in axes[::beside]:
        panel.set_ylabel("top-1 test accuracy (%)")
    everything = [point for found in panels.values() for point in found]
    arrange(figure, title, _legend(everything, numbers, colours, looks), lines)
    for panel, found in zip(axes, panels.values(), strict=True):
        _write_numbers(panel, found, numbers)
    return figure


def _panel(
    panel: "Axes",
    found: Sequence[Point],
    full: Sequence[int],
    colours: Mapping[str, str],
    looks: Mapping[str, Mapping],
) -> None:
    """Points, their intervals, the frontier of each distilled source, the full labels."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.grid(axis="y", color="0.92", linewidth=0.5)
    panel.set_axisbelow(True)
    end = max([*full, *(point.bytes for point in found)])
    for source, look in looks.items():
        best = frontier(point for point in found if point.images == source)
        if best:
            panel.step(
                [*(point.bytes for point in best), end],
                [*(point.accuracy for point in best), best[-1].accuracy],
                where="post",
                color="0.6",
                linewidth=0.8,
                linestyle=look["linestyle"],
                zorder=1.5,
            )
    for point in found:
        colour = colours[family(point.method)]
        panel.errorbar(
            point.bytes,
            point.accuracy,
            None if point.half is None else point.half,
            ecolor=colour,
            elinewidth=0.7,
            capsize=1.5,
            **_marker(point.images, colour, looks),
        )
    for size in full:
        panel.axvline(size, color="0.3", linestyle=":", linewidth=0.9, zorder=1)
        panel.text(
            size,
            1.01,
            f"all soft labels: {_amount(size)}",
            transform=panel.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7,
            color="0.3",
        )
    panel.margins(x=0.08, y=0.08)
    low, high = panel.get_ylim()
    panel.set_ylim(max(low, -2), min(high, 102))
    first, last = panel.get_xlim()
    if last < 100 * first:  # powers of ten alone would be too few
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(EngFormatter("B"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _marker(source: str, colour: str, looks: Mapping[str, Mapping]) -> dict:
    """Filled, and of its source's shape; hollow for real images."""
    if source not in looks:
        face, edge, shape = "white", colour, "o"
    else:
        face, edge, shape = colour, "white", looks[source]["marker"]
    return {
        "marker": shape,
        "markersize": 5.5,
        "markerfacecolor": face,
        "markeredgecolor": edge,
        "markeredgewidth": 0.4 if source in looks else 1.0,
        "linestyle": "none",
    }


def _legend(
    found: Sequence[Point],
    numbers: Mapping[str, int],
    colours: Mapping[str, str],
    looks: Mapping[str, Mapping],
) -> list["Artist"]:
    from matplotlib.lines import Line2D

    priors = {p.method: f"needs a public prior of {_amount(p.prior)}" for p in found if p.prior}
    handles = entries(numbers, colours, priors)
    sources = {point.images for point in found}
    for source in sorted(sources - looks.keys()):
        look = _marker(source, "0.3", looks)
        handles.append(Line2D([], [], **look, label=f"{one_line(source)}, real images"))
    for source, look in looks.items():
        if source in sources:
            line = {"linestyle": look["linestyle"], "color": "0.6", "linewidth": 0.8}
            marker = _marker(source, "0.3", looks) | line
            handles.append(
                Line2D([], [], **marker, label=f"{one_line(source)} images, Pareto frontier")
            )
    dotted = {"color": "0.3", "linestyle": ":", "linewidth": 0.9}
    handles.append(Line2D([], [], **dotted, label="bytes of all soft labels as fp16"))
    if any(point.half is not None for point in found):
        bar = {"color": "0.3", "linestyle": "none", "marker": "|", "markersize": 8}
        handles.append(Line2D([], [], **bar, label="95 % interval over repeats"))
    return handles


def _amount(size: int) -> str:
    """Bytes, short: 7.4 MB."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter("B", places=1)(size).replace(".0 ", " ")


def _write_numbers(panel: "Axes", found: Sequence[Point], numbers: Mapping[str, int]) -> None:
    """Each point's number beside it, where there is most room."""
    from matplotlib.patheffects import withStroke

    figure = panel.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi
    at = panel.transData.transform([(point.bytes, point.accuracy) for point in found]) * scale
    frame = panel.get_window_extent()
    left, right, low, high = (scale * v for v in (frame.x0, frame.x1, frame.y0, frame.y1))
    taken = [(x, y, 3.0, 3.0) for x, y in at]  # centres and half sizes, in points
    for point, (x, y) in zip(found, at, strict=True):
        if point.half is not None:
            top = panel.transData.transform((point.bytes, point.accuracy + point.half))[1] * scale
            taken.append((x, y, 1.0, top - y))

    def cost(choice: tuple[float, float, float], wide: float, tall: float) -> float:
        x, y, away = choice
        over = 0.0
        for u, v, w, h in taken:
            over += max(0.0, wide + w - abs(x - u)) * max(0.0, tall + h - abs(y - v))
        outside = x - wide < left or x + wide > right or y - tall < low or y + tall > high
        nearer = sum(math.hypot(x - u, y - v) < 0.95 * away for u, v in at)
        return over + 20 * nearer + 100 * outside  # nearer points would seem to be meant

    order = sorted(zip(found, at, strict=True), key=lambda p: (-p[0].accuracy, p[0].bytes))
    for point, (x, y) in order:
        text = f"{numbers[point.method]}{'†' if point.prior else ''}"
        wide, tall = 1.9 * len(text), 2.6
        ways = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
        shifts = [
            (dx * (wide + reach), dy * (tall + reach))
            for reach in (3.5, 6.0, 9.0, 14.0, 20.0)
            for dx, dy in ways
        ]
        choices = [(x + dx, y + dy, math.hypot(dx, dy)) for dx, dy in shifts]
        u, v, away = min(choices, key=lambda choice: cost(choice, wide, tall))
        taken.append((u, v, wide, tall))
        leader = {"arrowstyle": "-", "color": "0.4", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        panel.annotate(
            text,
            (point.bytes, point.accuracy),
            (u - x, v - y),
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            fontsize=6,
            color="0.15",
            annotation_clip=False,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
            arrowprops=leader if away > NEAR else None,
        )
