"""The frontier: accuracy over the bytes that are shipped, as pictures for papers."""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..records.comparison import Comparison, Row
from ..records.statistics import LEAST_PAIRS
from .frontier_panel import Point, amount, draw_panel, mark_of
from .in_all import form_of, in_all
from .leaderboard import one_line
from .pictures import (
    FIXED_SPACE,
    MOST_BESIDE,
    Picture,
    arrange,
    colours_of,
    entries,
    numbered,
    save,
    style,
)
from .point_numbers import write_numbers
from .rates import AGAINST, SHARE, Rate, bytes_text, rates, saving_text, without_budget

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

MARKERS = "osD^vP<X>ph8"
DASHES = ("-", "--", "-.", (0, (8, 2, 2, 2, 2, 2)), (0, (4, 4)), (0, (12, 3)))
WIDE = 48  # letters of a line of the legend


@dataclass(frozen=True)
class Bytes:
    """Which bytes a picture is over.

    Attributes:
        kind: of the picture.
        label: of the axis.
        size: of a row.
    """

    kind: str
    label: str
    size: Callable[[Row], int]


def labels_alone(_: Sequence[Row]) -> Bytes:
    """What ranks: the bytes shipped beyond the images."""
    return Bytes("frontier", "bytes shipped beyond the images", lambda row: row.storage["total"])


def all_there(rows: Sequence[Row]) -> Bytes:
    """All that must be there, images counted alike in all rows."""
    form = form_of(rows)
    label = f"bytes of labels, images ({form}), prior and teacher"
    return Bytes("frontier-in-all", label, lambda row: in_all(row, form) or 0)


Over = Callable[[Sequence[Row]], Bytes]


def draw(found: Iterable[Comparison], folder: Path) -> list[Path]:
    """Write all pictures into `folder`."""
    found = list(found)
    return save([*figures(found), *figures(found, all_there)], folder)


def figures(found: Iterable[Comparison], over: Over = labels_alone) -> list[Picture]:
    """One picture for each dataset, student, recipe and teacher, on and off protocol.

    Args:
        over: which bytes, of all rows of a picture: `labels_alone` or `all_there`.
    """
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
        counted = over([row for member in members for row in member.rows if row.n])
        with style():
            figure = _draw(title, members, colours, sources, counted)
            made.append(Picture(counted.kind, title, short, figure))
    return made


def distilled_sources(found: Iterable[Comparison]) -> list[str]:
    """The image sources that are not baselines: those have a frontier, the others stand hollow."""
    rows = [row for comparison in found for row in comparison.rows]
    return sorted({row.images for row in rows} - {row.images for row in rows if row.baseline})


def point(row: Row, size: int | None = None) -> Point:
    """A row that has records, as a point; at the bytes shipped beyond the images, or at `size`."""
    mean, half = row.accuracy
    prior = row.storage["prior"] if row.prior else 0
    # Of two repeats the interval is so wide that it would set the picture's scale.
    scaled = None if half is None or row.n < LEAST_PAIRS else 100 * half
    shown = row.storage["total"] if size is None else size
    return Point(row.images, row.method, shown, 100 * mean, scaled, prior)


def _draw(
    title: str,
    members: Sequence[Comparison],
    colours: Mapping[str, str],
    sources: Sequence[str],
    over: Bytes,
) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_ipc: dict[int, list[Row]] = {}
    for comparison in sorted(members, key=lambda c: c.setting.ipc):
        # In one order whatever the ranks, as later points cover earlier ones.
        rows = sorted((row for row in comparison.rows if row.n), key=lambda row: row.name)
        by_ipc.setdefault(comparison.setting.ipc, []).extend(rows)
    every = [row for rows in by_ipc.values() for row in rows]
    called = _called({row.method for row in every})
    panels = {
        ipc: [replace(point(row, over.size(row)), method=called[row.method]) for row in rows]
        for ipc, rows in by_ipc.items()
    }
    numbers = numbered(every, list(colours), called)
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
    alone = over.kind == "frontier"  # of what must be there, all labels are an unmarked part
    for panel, (ipc, found) in zip(axes, panels.items(), strict=True):
        full = sorted(
            {record["storage"]["soft"] for row in by_ipc[ipc] for record in row.records if alone}
        )
        draw_panel(panel, found, full, colours, looks)
        panel.set_title(f"IPC {ipc}", loc="left", fontsize=9, fontweight="bold", pad=14)
        panel.set_xlabel(over.label)
    for panel in axes[::beside]:
        panel.set_ylabel("top-1 test accuracy (%)")
    everything = [point for found in panels.values() for point in found]
    legend = [*_headline(members, alone), *_legend(everything, numbers, colours, looks, alone)]
    arrange(figure, title, legend, lines)
    for panel, found in zip(axes, panels.values(), strict=True):
        write_numbers(panel, found, numbers)
    return figure


def _called(methods: Iterable[str]) -> dict[str, str]:
    """What the picture calls each method: a curve by its name alone, without a budget."""
    settings: dict[str, list[str]] = {}
    for method in sorted(methods):
        settings.setdefault(without_budget(method), []).append(method)
    return {
        method: curve if len(each) > 1 else method
        for curve, each in settings.items()
        for method in each
    }


def _headline(members: Sequence[Comparison], alone: bool) -> list["Artist"]:
    """What each curve comes to, as lines of the legend; see `rates`."""
    by_ipc = [(m.setting.ipc, r) for m in members for r in rates(m)]
    several = len({r.images for _, r in by_ipc}) > 1

    def named(found: Iterable[tuple[int, Rate, str]]) -> list[str]:
        """A line for each method, with all its IPCs."""
        lines: dict[str, list[str]] = {}
        for ipc, rate, words in found:
            where = [*([rate.images] if several else []), rate.method]
            short = words.partition(":")[0] if words.startswith("no ") else words
            whole = f"IPC {ipc} {short}".replace(" ", FIXED_SPACE)
            lines.setdefault(one_line(", ".join(where)), []).append(whole)
        return [f"{name}: {', '.join(each)}" for name, each in lines.items()]

    deltas = ((ipc, rate, rate.against if alone else rate.in_all) for ipc, rate in by_ipc)
    against = [(ipc, rate, bytes_text(delta)) for ipc, rate, delta in deltas if delta is not None]
    made = _lines(f"bytes against {AGAINST} at equal accuracy", named(against))
    if alone:
        told = ((ipc, rate, saving_text(rate.saves)) for ipc, rate in by_ipc)
        soft = [each for each in told if not each[-1].endswith("not measured")]
        made += _lines(f"bytes against soft at {100 * SHARE:.0f} % of its gain", named(soft))
    return made


def _lines(heading: str, entries: Sequence[str]) -> list["Artist"]:
    """Text in the legend, under a heading; nothing without entries."""
    from matplotlib.lines import Line2D

    wrapped = [
        "\n   ".join(textwrap.wrap(entry, WIDE, break_on_hyphens=False)) for entry in entries
    ]
    shown = [heading, *(f" {text}" for text in wrapped)] if entries else []
    return [Line2D([], [], linestyle="none", label=text) for text in shown]


def _legend(
    found: Sequence[Point],
    numbers: Mapping[str, int],
    colours: Mapping[str, str],
    looks: Mapping[str, Mapping],
    full: bool,
) -> list["Artist"]:
    from matplotlib.lines import Line2D

    priors = {p.method: f"needs a public prior of {amount(p.prior)}" for p in found if p.prior}
    handles = entries(numbers, colours, priors)
    sources = {point.images for point in found}
    for source in sorted(sources - looks.keys()):
        look = mark_of(source, "0.3", looks)
        handles.append(Line2D([], [], **look, label=f"{one_line(source)}, real images"))
    for source, look in looks.items():
        if source in sources:
            line = {"linestyle": look["linestyle"], "color": "0.6", "linewidth": 0.8}
            look = mark_of(source, "0.3", looks) | line
            handles.append(
                Line2D([], [], **look, label=f"{one_line(source)} images, Pareto frontier")
            )
    if full:
        dotted = {"color": "0.3", "linestyle": ":", "linewidth": 0.9}
        handles.append(Line2D([], [], **dotted, label="bytes of all soft labels as fp16"))
    if any(point.half is not None for point in found):
        bar = {"color": "0.3", "linestyle": "none", "marker": "|", "markersize": 8}
        handles.append(Line2D([], [], **bar, label="95 % interval over repeats"))
    return handles
