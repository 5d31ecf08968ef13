"""Training curves: the mean training loss of each epoch, as pictures for papers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOM = 0.12  # for numbers right of the curves, as a share of the epochs
SPACING = 6.0  # points between numbers


def draw(found: Iterable[Comparison], folder: Path) -> list[Path]:
    """Write all pictures into `folder`."""
    return save(figures(found), folder)


def figures(found: Iterable[Comparison]) -> list[Picture]:
    """One picture for each comparison, a panel for each image source."""
    found = list(found)
    colours = colours_of(found)
    made = []
    for comparison in found:
        at = comparison.setting
        with style():
            figure = _draw(comparison, colours)
        made.append(Picture("curves", one_line(at.title), at.short, figure))
    return made


def curve(row: Row) -> np.ndarray:
    """The losses of a row's repeats, (repeats, epochs), as far as all of them were trained."""
    losses = [record["result"]["train_loss"] for record in row.records]
    shortest = min(map(len, losses))
    made = np.array([one[:shortest] for one in losses], float)
    made[~np.isfinite(made)] = np.nan
    return made


def _draw(comparison: Comparison, colours: Mapping[str, str]) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in comparison.rows if row.n]
    by_source: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.name):
        by_source.setdefault(row.images, []).append(row)
    curves = {row.name: curve(row) for row in rows}
    numbers = numbered(rows, list(colours))

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    lines = math.ceil(len(by_source) / MOST_BESIDE)
    beside = math.ceil(len(by_source) / lines)
    axes = figure.subplots(lines, beside, squeeze=False, sharey=True).ravel()
    longest = max(losses.shape[1] for losses in curves.values())
    logarithmic = all(np.nanmin(losses, initial=np.inf) > 0 for losses in curves.values())
    for panel, (source, shown) in zip(axes, by_source.items(), strict=False):
        if logarithmic:
            panel.set_yscale("log")
        panel.grid(axis="y", color="0.92", linewidth=0.5)
        panel.set_axisbelow(True)
        for row in shown:
            _line(panel, curves[row.name], colours[family(row.method)])
        panel.set_xlim(0, longest * (1 + ROOM))
        name = f"{one_line(source)} images"
        panel.set_title(name, loc="left", fontsize=9, fontweight="bold", parse_math=False)
        panel.set_xlabel("epoch")
        if panel in axes[::beside]:
            panel.set_ylabel("mean training loss")
    for panel in axes[len(by_source) :]:
        panel.set_axis_off()
    arrange(figure, comparison.setting.title, entries(numbers, colours, {}), lines)
    for panel, shown in zip(axes, by_source.values(), strict=False):
        _write_numbers(panel, shown, curves, numbers)
    return figure


def _line(panel: "Axes", losses: np.ndarray, colour: str) -> None:
    """The mean over repeats, and a band from the lowest to the highest."""
    epochs = np.arange(1, losses.shape[1] + 1)
    panel.plot(epochs, losses.mean(0), color=colour, linewidth=0.9)
    if len(losses) > 1:
        panel.fill_between(
            epochs, losses.min(0), losses.max(0), color=colour, alpha=0.15, linewidth=0
        )


def _write_numbers(
    panel: "Axes",
    rows: Sequence[Row],
    curves: Mapping[tuple[str, str], np.ndarray],
    numbers: Mapping[str, int],
) -> None:
    """Each curve's number beside its end, apart from the others, tied to it."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi
    frame = panel.get_window_extent()
    ends = []
    for row in rows:
        mean = curves[row.name].mean(0)
        known = np.flatnonzero(np.isfinite(mean))
        if len(known):
            end = (float(known[-1] + 1), float(mean[known[-1]]))
            x, y = (float(v) * scale for v in panel.transData.transform(end))
            ends.append((y, x, end, row.method))
    ends.sort()
    room = (frame.y0 * scale + SPACING / 2, frame.y1 * scale - SPACING / 2)
    heights = spread([end[0] for end in ends], SPACING, *room)
    leader = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 1}
    for (y, x, end, method), height in zip(ends, heights, strict=True):
        panel.annotate(
            str(numbers[method]),
            end,
            (frame.x1 * scale - x, height - y),
            textcoords="offset points",
            ha="right",
            va="center_baseline",
            fontsize=6,
            color="0.15",
            annotation_clip=False,
            arrowprops=leader,
        )


def spread(heights: Sequence[float], spacing: float, low: float, high: float) -> list[float]:
    """Heights, lowest first, moved as little as keeps them apart, from `low` to `high`.

    Those that are too near each other move together. Where there is no room, all come nearer.
    """
    spacing = min(spacing, (high - low) / max(1, len(heights) - 1))
    blocks: list[tuple[float, int]] = []  # of what stands side by side: sum of bases, and count
    for place, height in enumerate(heights):
        total, count = height - place * spacing, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            total, count = total + blocks[-1][0], count + blocks[-1][1]
            blocks.pop()
        blocks.append((total, count))
    bases = [total / count for total, count in blocks for _ in range(count)]
    top = high - max(0, len(heights) - 1) * spacing
    return [min(max(base, low), top) + place * spacing for place, base in enumerate(bases)]
