"""The numbers of a picture's methods: each beside its point, where there is most room."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .frontier_panel import Point

NEAR = 11.0  # points; a number further from its point is tied to it


def write_numbers(panel: "Axes", found: Sequence["Point"], numbers: Mapping[str, int]) -> None:
    """Each method's number where there is most room: beside its point, or the last of its curve."""
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

    last = {(point.images, point.method): point.bytes for point in sorted(found, key=_size)}
    ends = [
        (point, place)
        for point, place in zip(found, at, strict=True)
        if last[point.images, point.method] == point.bytes
    ]
    order = sorted(ends, key=lambda p: (-p[0].accuracy, p[0].bytes))
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


def _size(point: "Point") -> int:
    return point.bytes
