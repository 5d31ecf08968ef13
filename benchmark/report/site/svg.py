"""What the site's pictures are drawn with: SVG inside the page, in the page's own colours.

Each picture is drawn twice, for wide and for narrow screens, and the style sheet shows one of
them, so letters have their size on a phone too. Texts of records are escaped here.
"""

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .text import brief, clean

LETTER = 6.4  # pixels that a letter takes, in the mean of the fonts that browsers have
LINE = 14.0  # pixels between lines of text
APART = 40.0  # pixels from the start to the least that a logarithm has, where there is a 0
TURNS = {"square": (4, 45), "diamond": (4, 0), "triangle-up": (3, 0), "triangle-down": (3, 180)}
TURNS |= {"triangle-left": (3, 270), "triangle-right": (3, 90), "pentagon": (5, 0)}
TURNS |= {"hexagon": (6, 0), "octagon": (8, 22.5)}
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-left")
SHAPES += ("x", "triangle-right", "pentagon", "hexagon", "octagon")
DASHES = ("", "6 3", "2 2", "8 2 2 2", "12 4")


@dataclass(frozen=True)
class Size:
    """One of the two drawings of a picture.

    Attributes:
        name: the style sheet's class of it.
        right: room for what is written beside the panel.
    """

    name: str
    width: int
    height: int
    left: int
    right: int
    top: int = 22
    bottom: int = 46

    @property
    def inside(self) -> tuple[float, float, float, float]:
        """The panel's left, right, top and bottom."""
        return (
            float(self.left),
            float(self.width - self.right),
            float(self.top),
            float(self.height - self.bottom),
        )

    @property
    def is_narrow(self) -> bool:
        """Whether it is the one for phones."""
        return self.width < 600


Scale = Callable[[float], float]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """From values to pixels."""
    span = high - low or 1.0
    return lambda value: start + (end - start) * (value - low) / span


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """From positive values to pixels, by their logarithms."""
    inner = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: inner(math.log10(value))


def with_zero(low: float, high: float, start: float, end: float) -> Scale:
    """From positive values to pixels, by their logarithms, and from 0, left of them all."""
    above = logarithmic(low, high, start + APART, end)
    return lambda value: above(value) if value > 0 else start + APART / 4


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Round values within a range, `most` of them at most."""
    span = high - low or 1.0
    for step in (m * 10.0**e for e in range(-6, 12) for m in (1, 2, 5)):
        if span / step <= most:
            first = math.ceil(low / step - 1e-9)
            return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return [low, high]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten within a range; 2 and 5 of each too where these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in ((1, 2, 5), (1, 3), (1,)):
        found = [p * 10.0**e for e in powers for p in parts if low <= p * 10.0**e <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def wide_of(text: str) -> float:
    """Pixels that a text takes, about."""
    return LETTER * len(text)


def said(text: str, most: int = 60) -> str:
    """Text of records, as it may stand in a picture."""
    return html.escape(brief(clean(text), most))


def number(value: float) -> str:
    """A coordinate."""
    return f"{value:.1f}".removesuffix(".0")


def path(points: Iterable[tuple[float, float]]) -> str:
    """A line through points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def text_at(x: float, y: float, words: str, more: str = "") -> str:
    """Escaped words at a place."""
    return f'<text x="{number(x)}" y="{number(y)}"{f" {more}" if more else ""}>{words}</text>'


def own(colour: str) -> str:
    """A colour as an attribute; black follows the theme, so that it is seen on both."""
    return "" if colour in ("#000000", "") else f' style="--own:{colour}"'


def symbol(shape: str, x: float, y: float, radius: float = 5.0) -> str:
    """A mark of a shape's name; `-open` ones are hollow."""
    open_ = ' class="open"' if shape.endswith("-open") else ""
    base = shape.removesuffix("-open")
    if base in TURNS:
        corners = _corners(*TURNS[base], x, y, radius * (1.15 if base != "square" else 1.3))
    elif base in ("cross", "x"):
        corners = _cross(x, y, radius, 45 if base == "x" else 0)
    else:
        return f'<circle{open_} cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"/>'
    return f'<path{open_} d="{path(corners)}Z"/>'


def _corners(
    count: int, turn: float, x: float, y: float, radius: float
) -> list[tuple[float, float]]:
    angles = [math.radians(turn - 90 + 360 * i / count) for i in range(count)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def _cross(x: float, y: float, radius: float, turn: float) -> list[tuple[float, float]]:
    third = radius / 3
    arm = [(-third, -radius), (third, -radius), (third, -third)]
    quarter = [
        (px * c - py * s, px * s + py * c)
        for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))
        for px, py in arm
    ]
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return [(x + 1.2 * (px * c - py * s), y + 1.2 * (px * s + py * c)) for px, py in quarter]


Box = tuple[float, float, float, float]  # left, right, top, bottom


def place(
    wanted: Sequence[tuple[float, float, str]], marks: Sequence[tuple[float, float]], inside: Box
) -> list[tuple[float, float] | None]:
    """Where the words beside points go, so that none covers another or a mark; None: nowhere.

    Args:
        wanted: point and words, the most important first.
        marks: all points.
    """
    taken: list[Box] = [(x - 6, x + 6, y - 6, y + 6) for x, y in marks]
    found: list[tuple[float, float] | None] = []
    for x, y, words in wanted:
        wide = wide_of(words)
        for left, base in (
            *((x + 9, y + 4), (x - 9 - wide, y + 4), (x - wide / 2, y - 10)),
            *((x - wide / 2, y + 19), (x + 7, y - 8), (x - 7 - wide, y - 8)),
            *((x + 7, y + 16), (x - 7 - wide, y + 16)),
        ):
            box = (left, left + wide, base - 10, base + 3)
            fits = inside[0] <= box[0] and box[1] <= inside[1]
            fits = fits and inside[2] <= box[2] and box[3] <= inside[3]
            if fits and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append((left, base))
                break
        else:
            found.append(None)
    return found


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def axes(
    size: Size,
    across: tuple[Scale, Sequence[float], Callable[[float], str], str],
    up: tuple[Scale, Sequence[float], Callable[[float], str], str],
) -> str:
    """Grid, figures and names of both axes: each a scale, its ticks, their words, its name."""
    left, right, top, bottom = size.inside
    made = ['<g class="axes">']
    scale, ticks, words, name = up
    for tick in ticks:
        y = scale(tick)
        made.append(f'<path d="{path([(left, y), (right, y)])}"/>')
        made.append(text_at(left - 6, y + 4, words(tick), 'text-anchor="end"'))
    made.append(text_at(2, 12, html.escape(name)))
    scale, ticks, words, name = across
    for tick in ticks:
        x = scale(tick)
        made.append(f'<path d="{path([(x, top), (x, bottom)])}"/>')
        made.append(text_at(x, bottom + 16, words(tick), 'text-anchor="middle"'))
    made.append(text_at(right, size.height - 8, html.escape(name), 'text-anchor="end"'))
    return "".join([*made, "</g>"])


def picture(size: Size, name: str, parts: Iterable[str]) -> str:
    """A whole drawing; `name` is what assistive software calls it."""
    return (
        f'<svg class="{size.name}" viewBox="0 0 {size.width} {size.height}" role="group" '
        f'aria-label="{html.escape(name)}">{"".join(parts)}</svg>'
    )
