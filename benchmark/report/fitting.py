"""Tables that fit a terminal: the essential columns first, methods by their short names."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .leaderboard import WORDS, Table
from .names import short_names

LEAST = 40  # columns of a terminal that tables are still made for
GAP = "  "
MOST_OF_A_CELL = 30  # characters that a shortened cell has at most
# What a table is read for, first things first; other columns follow as they stand.
ESSENTIALS = {
    "accuracy": ("rank", "method", "accuracy %", "bytes", "images", "±", "n"),
    "frontier": ("method", "bytes", "accuracy %", "frontier", "images", "over hard", "in all"),
    "storage": ("method", "total", "ratio", "images", "values", "indices", "views", "weights"),
    "throughput": ("method", "ratio to bare step", "images", "labels/s", "share of step"),
    "rates": ("method", "bytes against lpqld", "points against lpqld", "images", "budgets"),
    "replications": ("method", "n", "largest difference", "shown", "images"),
    "profile": ("method", "student", "step", "ratio to bare step", "bare step", "views"),
    "ratios": ("name", "ratio", "lowest..highest", "commit"),
    "distortion": ("method", "bytes", "divergence (nats)", "agreement", "squared error"),
    "advice": ("advice", "take", "method", "accuracy %", "bytes", "IPC", "images", "±", "student"),
    "size": ("method", "labels (B)", "ratio", "official files (B)"),
    "compare": ("A", "B", "difference", "better", "p", "n", "95 % interval"),
}
METHODS = ("method", "take", "A", "B")  # columns of methods


@dataclass(frozen=True)
class Drawn:
    """A table in lines, and the columns that had no room."""

    lines: list[str]
    left_out: list[str]


def fitted(table: Table, width: int | None) -> str:
    """A table for a terminal of so many columns; whole if that is None."""
    if width is None:
        return table.text()
    cells = {str(name): [str(cell) for cell in table.frame[name]] for name in table.frame.columns}
    return fitted_cells(table.kind, table.title, cells, table.below, width)


def fitted_cells(
    kind: str, title: str, cells: Mapping[str, list[str]], below: str, width: int
) -> str:
    """Columns of texts for a terminal of so many columns."""
    width = max(width, LEAST)
    drawn = draw(kind, cells, width)
    parts = [*wrapped(f"{kind.upper()} | {title}", width, "  "), *drawn.lines]
    if drawn.left_out:
        told = f"No room for: {', '.join(drawn.left_out)} (--wide shows all)."
        parts += wrapped(told, width)
    parts += [line for note in below.splitlines() for line in wrapped(note, width)]
    return "\n".join(parts) + "\n"


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Text in lines that are no wider; later ones begin with `indent`."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def draw(kind: str, cells: Mapping[str, list[str]], width: int) -> Drawn:
    """As many columns as fit, by what the table is read for, in their usual order."""
    shown = dict(cells)
    named = [name for name in METHODS if name in shown]
    names = short_names([cell for name in named for cell in shown[name]])
    shown |= {name: [names[cell] for cell in shown[name]] for name in named}
    shown = {name: [_shortened(cell) for cell in cells] for name, cells in shown.items()}
    wanted = [name for name in ESSENTIALS.get(kind, ()) if name in shown]
    # What says nothing of any line comes last.
    empty = [name for name in shown if {*shown[name]} <= {"-", "0", ""}]
    wanted += [name for name in shown if name not in [*wanted, *empty]]
    wanted += [name for name in empty if name not in wanted]
    chosen: list[str] = []
    for name in wanted:
        if _total([*chosen, name], shown) <= width or not chosen:
            chosen.append(name)
    columns = [name for name in shown if name in chosen]
    lines = [_line(row, columns, shown) for row in _headings(columns, shown)]
    lines.append(GAP.join("-" * _width(name, shown) for name in columns))
    lines += [_line(row, columns, shown) for row in zip(*(shown[n] for n in columns), strict=True)]
    return Drawn(lines, [name for name in shown if name not in chosen])


def _shortened(cell: str) -> str:
    return cell if len(cell) <= MOST_OF_A_CELL else f"{cell[: MOST_OF_A_CELL - 3]}..."


def _width(name: str, shown: dict[str, list[str]]) -> int:
    """Of a column whose heading is broken between words."""
    return max(map(len, [*name.split(" "), *shown[name]]))


def _total(columns: Sequence[str], shown: dict[str, list[str]]) -> int:
    return sum(_width(name, shown) for name in columns) + len(GAP) * (len(columns) - 1)


def _headings(columns: Sequence[str], shown: dict[str, list[str]]) -> list[list[str]]:
    """The headings' lines, the last of which stand on the rule."""
    broken = [textwrap.wrap(n, _width(n, shown), break_on_hyphens=False) or [""] for n in columns]
    high = max(map(len, broken), default=0)
    padded = [[*[""] * (high - len(lines)), *lines] for lines in broken]
    return [[*row] for row in zip(*padded, strict=True)]


def _line(cells: Sequence[str], columns: Sequence[str], shown: dict[str, list[str]]) -> str:
    made = []
    for cell, name in zip(cells, columns, strict=True):
        width = _width(name, shown)
        made.append(cell.ljust(width) if name in WORDS else cell.rjust(width))
    return GAP.join(made).rstrip()
