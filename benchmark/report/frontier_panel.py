"""One panel of the frontier's picture: points, curves, and what no other point beats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .gains import pareto
from .pictures import family
from .rates import without_budget

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def frontier(found: Iterable[Point]) -> list[Point]:
    """The points that no other one beats at as few bytes or fewer, from few bytes to many."""
    return pareto(found, lambda p: p.bytes, lambda p: p.accuracy)


def draw_panel(
    panel: "Axes",
    found: Sequence[Point],
    full: Sequence[int],
    colours: Mapping[str, str],
    looks: Mapping[str, Mapping],
) -> None:
    """Points with their intervals, curves, frontiers of distilled sources, the full labels."""
    panel.grid(axis="y", color="0.92", linewidth=0.5)
    panel.set_axisbelow(True)
    _lines(panel, found, max([*full, *(point.bytes for point in found)]), colours, looks)
    for point in found:
        colour = colours[family(point.method)]
        panel.errorbar(
            point.bytes,
            point.accuracy,
            None if point.half is None else point.half,
            ecolor=colour,
            elinewidth=0.7,
            capsize=1.5,
            **mark_of(point.images, colour, looks),
        )
    for size in full:
        panel.axvline(size, color="0.3", linestyle=":", linewidth=0.9, zorder=1)
        panel.text(
            size,
            1.01,
            f"all soft labels: {amount(size)}",
            transform=panel.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7,
            color="0.3",
        )
    scale(panel, {*full, *(point.bytes for point in found)})


def _lines(
    panel: "Axes",
    found: Sequence[Point],
    end: int,
    colours: Mapping[str, str],
    looks: Mapping[str, Mapping],
) -> None:
    """The frontier of each distilled source, up to `end`, and the curve of each method."""
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
    for (_, method), curve in _curves(found).items():
        panel.plot(
            [point.bytes for point in curve],
            [point.accuracy for point in curve],
            color=colours[family(method)],
            linewidth=0.7,
            alpha=0.6,
            zorder=1.6,
        )


def _curves(found: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    """The points of each method at several budgets, by images and rising bytes."""
    curves: dict[tuple[str, str], list[Point]] = {}
    for point in sorted(found, key=lambda point: (point.bytes, point.accuracy)):
        curves.setdefault((point.images, without_budget(point.method)), []).append(point)
    return {name: curve for name, curve in curves.items() if len(curve) > 1}


def scale(panel: "Axes", sizes: set[int]) -> None:
    """A logarithmic axis of bytes, and room around the points.

    What ships nothing stands left of all, at 0 B: below the least that ships the axis is linear.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    least = min((size for size in sizes if size), default=1)
    if 0 in sizes:
        panel.set_xscale("symlog", linthresh=least, linscale=0.5)
    else:
        panel.set_xscale("log")
    panel.margins(x=0.08, y=0.08)
    if 0 in sizes:
        panel.set_xlim(-least / 4, 2 * max(*sizes, least))
    elif len(sizes) == 1:  # a logarithmic axis needs a width
        panel.set_xlim(least / 2, 2 * least)
    low, high = panel.get_ylim()
    panel.set_ylim(max(low, -2), min(high, 102))
    first, last = panel.get_xlim()
    if 0 < last < 100 * first:  # powers of ten alone would be too few
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(EngFormatter("B"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def mark_of(source: str, colour: str, looks: Mapping[str, Mapping]) -> dict:
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


def amount(size: int) -> str:
    """Bytes, short: 7.4 MB."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter("B", places=1)(size).replace(".0 ", " ")
