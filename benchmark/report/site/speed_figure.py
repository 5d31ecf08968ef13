"""Where a step's time goes, in a page: a bar a method and student, its parts one after another."""

from collections.abc import Sequence

from markupsafe import Markup

from ..names import short_name
from ..speeds import Profile
from . import svg
from .svg import Size

# Safe for the colour-blind, as methods' colours are.
PARTS = {"bare step": "#8d959e", "rendering": "#56b4e9", "labels": "#d55e00", "loss": "#cc79a7"}
TALL = 40  # pixels of a bar with its name


def speed(found: Sequence[Profile]) -> Markup:
    """The parts of each profile's step, stacked, in milliseconds."""
    return Markup(
        "".join(_drawn(found, name, wide) for name, wide in (("broad", 900), ("slim", 360)))
    )


def _drawn(found: Sequence[Profile], name: str, wide: int) -> str:
    size = Size(name, wide, 84 + TALL * len(found), 8, 60, top=34)
    left, right, top, _ = size.inside
    most = max(max(profile.step, sum(profile.ms.values())) for profile in found)
    across = svg.linear(0, most or 1.0, left, right)
    ticks = svg.round_ticks(0, most, 5 if size.is_narrow else 9)
    parts = [
        svg.axes(
            size,
            (across, ticks, lambda tick: f"{tick:g}", "milliseconds a step"),
            (lambda _: top, [], str, ""),
        ),
        *_key(size),
    ]
    for place, profile in enumerate(found):
        y = top + 8 + TALL * place
        cell = profile.record["cell"]
        called = f"{short_name(cell['method'])}, {cell['student']}"
        parts.append(svg.text_at(left, y + 8, svg.said(called, 44 if size.is_narrow else 90)))
        start = 0.0
        for part, colour in PARTS.items():
            ms = profile.ms[part]
            x, end = across(start), across(start + ms)
            start += ms
            told = f"{called}; {part}: {ms:.3g} ms"
            parts.append(
                f'<g class="part"{svg.own(colour)}><title>{svg.said(told, 200)}</title>'
                f'<rect x="{x:.1f}" y="{y + 13:.1f}" width="{end - x:.1f}" height="14"/></g>'
            )
        step = across(profile.step)
        parts.append(
            f'<g class="step-end"><title>{svg.said(f"{called}; whole step", 200)}</title>'
            f'<path d="{svg.path([(step, y + 10), (step, y + 30)])}"/></g>'
        )
        parts.append(svg.text_at(max(step, across(start)) + 5, y + 24, f"{profile.step:.3g} ms"))
    return svg.picture(size, "Milliseconds of a step by its parts", parts)


def _key(size: Size) -> list[str]:
    """What the colours are."""
    made, x = [], float(size.left)
    for part, colour in PARTS.items():
        made.append(
            f'<g class="part"{svg.own(colour)}><rect x="{x:.1f}" y="4" width="10" height="10"/></g>'
        )
        made.append(svg.text_at(x + 14, 13, part))
        x += 26 + svg.wide_of(part)
    return made
