"""The charts' data, as `static/charts.js` draws them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...records.comparison import Comparison
from ..curves import curve
from ..frontier import distilled_sources
from ..frontier import point as point_of
from ..frontier_panel import Point
from ..frontier_panel import frontier as pareto
from ..in_all import in_all
from ..names import size
from ..pictures import colours_of
from ..speeds import Profile
from .lines import Line
from .text import brief, clean, short

# plotly's names of matplotlib's shapes in `frontier.MARKERS`.
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "triangle-down",
    "cross",
    "triangle-left",
    "x",
    "triangle-right",
    "pentagon",
    "hexagon",
    "octagon",
)
# Of a step; safe for the colour-blind, as methods' are.
PARTS = {"bare step": "#8d959e", "rendering": "#56b4e9", "labels": "#d55e00", "loss": "#cc79a7"}
LABELS = "bytes shipped beyond the images"
MOST_POINTS = 150  # of one curve
FIRST_CURVES = 6  # that are seen before others are asked for


class Looks:
    """Colours of methods and shapes of image sources, the same on all pages."""

    def __init__(self, found: Sequence[Comparison]) -> None:
        self.colours = colours_of(found)
        sources = distilled_sources(found)
        self.shapes = {s: SYMBOLS[i % len(SYMBOLS)] for i, s in enumerate(sources)}


def frontier(found: Sequence[Line], looks: Looks, up: str, form: str = "") -> dict[str, Any]:
    """Accuracy over bytes, with the Pareto frontier of each distilled image source.

    Args:
        up: the way to the site's root, `../` from a folder.
        form: what images count as, over the bytes of all that must be there (see `in_all`); empty
            over the bytes shipped beyond the images.
    """
    points, of_source = [], {}
    for line in found:
        row = line.row
        point = point_of(row, in_all(row, form) if form else None)
        prior = f"{brief(clean(row.prior), 60)}, {size(point.prior)}" if row.prior else ""
        points.append(
            {
                "family": brief(clean(line.label.family), 40),
                "options": brief(clean(", ".join(line.label.options)), 160),
                "images": brief(clean(row.images), 60),
                "colour": looks.colours[line.label.family],
                "shape": looks.shapes.get(row.images, "circle-open"),
                "bytes": point.bytes,
                "size": size(point.bytes),
                "accuracy": round(point.accuracy, 4),
                "half": None if point.half is None else round(point.half, 4),
                "n": row.n if row.n == row.asked else f"{row.n}/{row.asked}",
                "rank": line.rank,
                "prior": prior,
                "url": f"{up}record/{line.repeats[0][1]}.html",
                "line": line.number,
            }
        )
        if row.images in looks.shapes:
            of_source.setdefault(row.images, {})[point] = line.number
    steps = [_step(name, of_source[name]) for name in sorted(of_source)]
    full = [] if form else sorted({line.soft for line in found})
    label = f"bytes of labels, images ({form}), prior and teacher" if form else LABELS
    return {"points": points, "steps": steps, "full": full, "label": label}


def choices(found: Sequence[Line]) -> set[int]:
    """The lines that are best at some bytes on their images, of all or of those without a prior."""
    pools: dict[tuple[str, bool], dict[Point, int]] = {}
    for line in found:
        for priors in (True, False) if not line.row.prior else (True,):
            pools.setdefault((line.row.images, priors), {})[point_of(line.row)] = line.number
    return {pool[point] for pool in pools.values() for point in pareto(pool)}


def _step(images: str, found: dict[Point, int]) -> dict[str, Any]:
    """The Pareto frontier of an image source: bytes, accuracy and line of each point."""
    best = [(p.bytes, round(p.accuracy, 4), found[p]) for p in pareto(found)]
    return {"images": brief(clean(images), 40), "at": best}


def curves(found: Sequence[Line], looks: Looks) -> list[dict[str, Any]]:
    """Training loss over the epochs, a mean over each row's repeats."""
    made = []
    for line in found:
        made.append(
            {
                "name": f"{line.number} {brief(clean(line.row.method), 48)}",
                "images": brief(clean(line.row.images), 40),
                "colour": looks.colours[line.label.family],
                "seen": len(made) < FIRST_CURVES,
                **_thinned(curve(line.row).mean(0)),
            }
        )
    return made


def one_curve(loss: Sequence[float | None]) -> list[dict[str, Any]]:
    """A record's training loss over the epochs."""
    look = {"name": "loss", "images": "", "colour": "", "seen": True}
    return [{**look, **_thinned(np.asarray(loss, float))}]


def speed(found: Sequence[Profile]) -> dict[str, Any]:
    """The parts of each profile's step, stacked, in milliseconds."""
    return {
        "rows": [
            {
                "method": brief(clean(profile.record["cell"]["method"]), 48),
                "student": brief(clean(profile.record["cell"]["student"]), 32),
                "step": short(profile.step),
            }
            for profile in found
        ],
        "parts": [
            {"name": name, "colour": colour, "ms": [short(profile.ms[name]) for profile in found]}
            for name, colour in PARTS.items()
        ],
    }


def _thinned(loss: np.ndarray) -> dict[str, Any]:
    """At most `MOST_POINTS` of a curve, evenly."""
    at = np.linspace(0, len(loss) - 1, min(len(loss), MOST_POINTS)).round().astype(int)
    return {"epochs": (at + 1).tolist(), "loss": [short(v) for v in loss[at].tolist()]}
