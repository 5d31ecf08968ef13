"""Training loss in a page: a line a row, the first ones named where they end."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from ..curves import curve, spread
from . import svg
from .frontier_figure import Looks
from .lines import Line
from .svg import Size

SIZES = (Size("broad", 900, 440, 52, 190), Size("slim", 360, 360, 40, 104))
NAMED = {"broad": 12, "slim": 8}  # lines that are named, and drawn stronger than the others
MOST_POINTS = 80  # of one line


def curves(found: Sequence[Line], looks: Looks) -> Markup:
    """Training loss over the epochs, a mean over each row's repeats."""
    losses = {line.number: _thinned(curve(line.row).mean(0)) for line in found}
    known = {number: points for number, points in losses.items() if points}
    if not known:
        return Markup()
    lines = [line for line in found if line.number in known]
    return Markup("".join(_drawn(lines, known, looks, size) for size in SIZES))


def _thinned(loss: np.ndarray) -> list[tuple[int, float]]:
    """At most `MOST_POINTS` of a curve, evenly; no gaps, and nothing that is no number."""
    at = np.linspace(0, len(loss) - 1, min(len(loss), MOST_POINTS)).round().astype(int)
    return [(int(i) + 1, float(loss[i])) for i in at if np.isfinite(loss[i])]


def _drawn(
    found: Sequence[Line],
    losses: dict[int, list[tuple[int, float]]],
    looks: Looks,
    size: Size,
) -> str:
    values = [loss for line in found for _, loss in losses[line.number]]
    last = max(epoch for line in found for epoch, _ in losses[line.number])
    low, high = min(values), max(values)
    left, right, top, bottom = size.inside
    across = svg.linear(1, max(last, 2), left, right)
    if low > 0:
        up = svg.logarithmic(low / 1.05, high * 1.05, bottom, top)
        ticks = svg.log_ticks(low / 1.05, high * 1.05, 8)
    else:
        up, ticks = svg.linear(low, high, bottom, top), svg.round_ticks(low, high, 8)
    named = found[: NAMED[size.name]]
    ends = {line.number: up(losses[line.number][-1][1]) for line in named}
    order = sorted(ends, key=ends.__getitem__)
    bases = spread([ends[n] for n in order], svg.LINE, top + 4, bottom)
    base_of = dict(zip(order, bases, strict=True))
    parts = [
        svg.axes(
            size,
            (across, svg.round_ticks(1, max(last, 2), 6), lambda t: f"{t:.0f}", "epoch"),
            (up, ticks, lambda tick: f"{tick:g}", "training loss"),
        )
    ]
    most = 14 if size.is_narrow else 28
    for line in reversed(found):
        way = [(across(epoch), up(loss)) for epoch, loss in losses[line.number]]
        strong = line.number in base_of
        words = f"{line.number} {line.name} on {line.row.images}"
        text = ""
        if strong:
            x, y = way[-1]
            base = base_of[line.number]
            lead = svg.path([(x, y), (right + 8, base)])
            text = f'<path class="lead" d="{lead}"/>'
            text += svg.text_at(right + 10, base + 4, svg.said(f"{line.number} {line.name}", most))
        parts.append(
            f'<g class="curve{"" if strong else " faint"}" data-line="{line.number}"'
            f"{svg.own(looks.colours[line.label.family])}><title>{svg.said(words, 200)}</title>"
            f'<path d="{svg.path(way)}"/>{text}</g>'
        )
    return svg.picture(size, "Training loss over epochs", parts)
