"""The frontier in a page: accuracy over bytes, every point a link to its row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ...records.comparison import Comparison
from ..frontier import distilled_sources
from ..frontier import point as point_of
from ..frontier_panel import Point
from ..frontier_panel import frontier as pareto
from ..in_all import in_all
from ..names import short_name, size
from ..pictures import colours_of
from . import svg
from .lines import Line
from .svg import Size

LABELS = "bytes shipped beyond the images"
SIZES = (Size("broad", 900, 460, 46, 20), Size("slim", 360, 400, 36, 8))
OPEN = "circle-open"  # of image sources that are not distilled


class Looks:
    """Colours of methods and shapes of image sources, the same on all pages."""

    def __init__(self, found: Sequence[Comparison]) -> None:
        self.colours = colours_of(found)
        sources = distilled_sources(found)
        self.shapes = {s: svg.SHAPES[i % len(svg.SHAPES)] for i, s in enumerate(sources)}

    def shape(self, images: str) -> str:
        """Of an image source."""
        return self.shapes.get(images, OPEN)


@dataclass(frozen=True)
class _Mark:
    """One point at its place."""

    line: Line
    point: Point
    x: float
    y: float


def frontier(found: Sequence[Line], looks: Looks, page: str = "", form: str = "") -> Markup:
    """Accuracy over bytes, with the Pareto frontier of each distilled image source.

    Args:
        page: where the rows are, if on another page.
        form: what images count as, over the bytes of all that must be there (see `in_all`); empty
            over the bytes shipped beyond the images.
    """
    points = {
        line.number: point_of(line.row, in_all(line.row, form) if form else None) for line in found
    }
    return Markup("".join(_drawn(found, points, looks, page, form, size) for size in SIZES))


def _drawn(
    found: Sequence[Line],
    points: dict[int, Point],
    looks: Looks,
    page: str,
    form: str,
    size: Size,
) -> str:
    full = [] if form else sorted({line.soft for line in found})
    sizes = {*full, *(point.bytes for point in points.values())}
    shipped = sizes - {0} or {1}
    low, high = min(shipped) / 1.4, max(shipped) * (1.4 if size.is_narrow else 1.25)
    heights = [p.accuracy + s * (p.half or 0) for p in points.values() for s in (-1, 1)]
    pad = 0.06 * (max(heights) - min(heights)) or 1.0
    bottom, top = max(0.0, min(heights) - pad), min(100.0, max(heights) + pad)
    left, right, above, below = size.inside
    across = svg.logarithmic(low, high, left, right)
    if 0 in sizes:  # which no logarithm has: at the left end, apart
        across = svg.with_zero(low, high, left, right)
    up = svg.linear(bottom, top, below, above)
    marks = [
        _Mark(line, p, across(p.bytes), up(p.accuracy))
        for line in found
        for p in [points[line.number]]
    ]
    x_ticks = [*sizes & {0}, *svg.log_ticks(low, high, 5 if size.is_narrow else 11)]
    y_ticks = svg.round_ticks(bottom, top, 7)
    digits = 0 if all(tick == round(tick) for tick in y_ticks) else 1
    label = f"bytes of labels, images ({form}), prior, teacher" if form else LABELS
    return svg.picture(
        size,
        f"Accuracy over {label}",
        [
            svg.axes(
                size,
                (across, x_ticks, lambda tick: _bytes(round(tick)), label),
                (up, y_ticks, lambda tick: f"{tick:.{digits}f}", "top-1 test accuracy, %"),
            ),
            *(_rule(across(bytes_), size) for bytes_ in full),
            *_steps(marks, looks, size),
            *_points(marks, looks, page, size),
        ],
    )


def _bytes(count: int) -> str:
    return size(count).replace(" ", "\u202f")


def _rule(x: float, size: Size) -> str:
    """Where all soft labels stand."""
    _, right, top, bottom = size.inside
    end = x + svg.wide_of("all soft labels") / 2 > right
    words = svg.text_at(
        x, top - 6, "all soft labels", f'text-anchor="{"end" if end else "middle"}"'
    )
    return f'<g class="rule"><path d="{svg.path([(x, top), (x, bottom)])}"/>{words}</g>'


def _best(marks: Iterable[_Mark], looks: Looks) -> dict[str, list[_Mark]]:
    """The frontier of each distilled image source."""
    of_source: dict[str, dict[Point, _Mark]] = {}
    for mark in marks:
        if mark.line.row.images in looks.shapes:
            of_source.setdefault(mark.line.row.images, {})[mark.point] = mark
    return {name: [pool[p] for p in pareto(pool)] for name, pool in sorted(of_source.items())}


def _steps(marks: Sequence[_Mark], looks: Looks, size: Size) -> list[str]:
    """The frontiers as steps; the page's filter draws them anew of the points that are left."""
    made = []
    for at, (images, best) in enumerate(_best(marks, looks).items()):
        dash = svg.DASHES[at % len(svg.DASHES)]
        corners = []
        for mark in best:
            corners += [(mark.x, corners[-1][1])] if corners else []
            corners.append((mark.x, mark.y))
        corners.append((size.inside[1], corners[-1][1]))
        made.append(
            f'<path class="step" data-images="{svg.said(images)}" data-end="{size.inside[1]:.0f}" '
            f'stroke-dasharray="{dash}" d="{svg.path(corners)}"/>'
        )
    return made


def _points(marks: Sequence[_Mark], looks: Looks, page: str, size: Size) -> list[str]:
    """All points with their words; those of a frontier are written first."""
    first = {mark.line.number for best in _best(marks, looks).values() for mark in best}
    ordered = sorted(marks, key=lambda m: (m.line.number not in first, -m.y, m.line.number))
    most = 15 if size.is_narrow else 40
    wanted = [(m.x, m.y, _words(m, most)) for m in ordered]
    left, right, top, bottom = size.inside
    places = svg.place(wanted, [(m.x, m.y) for m in marks], (left, right, top, bottom))
    written = {m.line.number: at for m, at in zip(ordered, places, strict=True)}
    scale = _pixels_a_point(marks)
    return [
        _linked(mark, looks, page, written[mark.line.number], most, scale)
        for mark in sorted(marks, key=lambda m: (m.line.number in first, m.line.number))
    ]


def _pixels_a_point(marks: Sequence[_Mark]) -> float:
    """Pixels of one point of accuracy."""
    low, high = (f(marks, key=lambda m: m.point.accuracy) for f in (min, max))
    gap = high.point.accuracy - low.point.accuracy
    return (low.y - high.y) / gap if gap else 0.0


def _words(mark: _Mark, most: int) -> str:
    name = short_name(mark.line.row.method) + (" †" if mark.point.prior else "")
    return name if len(name) <= most else name[: most - 1] + "…"


def _linked(
    mark: _Mark,
    looks: Looks,
    page: str,
    words: tuple[float, float] | None,
    most: int,
    scale: float,
) -> str:
    row = mark.line.row
    colour = looks.colours[mark.line.label.family]
    half = (mark.point.half or 0) * scale
    bar = ""
    if half > 1:
        ends = [(mark.x, mark.y - half), (mark.x, mark.y + half)]
        bar = f'<path class="bar" d="{svg.path(ends)}"/>'
    text = ""
    if words is not None:
        text = svg.text_at(*words, svg.said(_words(mark, most)))
    return (
        f'<a class="point" href="{page}#line-{mark.line.number}" data-line="{mark.line.number}" '
        f'data-images="{svg.said(row.images)}" data-x="{mark.x:.1f}" data-y="{mark.y:.1f}">'
        f"<title>{svg.said(_about(mark), 400)}</title>"
        f"<g{svg.own(colour)}>{bar}"
        f"{svg.symbol(looks.shape(row.images), mark.x, mark.y)}</g>{text}</a>"
    )


def _about(mark: _Mark) -> str:
    """What a reader who points at it is told."""
    row, point = mark.line.row, mark.point
    half = "n too small" if point.half is None else f"± {point.half:.2f}"
    told = [
        f"{mark.line.name} on {row.images}",
        f"{point.accuracy:.2f} % {half}, n = {row.n}",
        f"{point.bytes:,} B",
        *([f"rank {mark.line.rank}"] if row.rank is not None else []),
        *([f"needs {row.prior}, {size(point.prior)}"] if row.prior else []),
        row.method,
    ]
    return "; ".join(told)
