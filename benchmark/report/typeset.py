"""How wide text is on a paper's page, and tables that are sure to fit it.

Widths are those of Computer Modern at 8 points, the size of the tables; the fonts that conferences
ask for, such as Times, are narrower. No LaTeX is needed to measure.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

POINTS = 8  # of the tables' type
# Thousandths of the type's size, of the characters from space to ~, as in cmr8's and cmbx8's
# metrics; what text fonts lack is as wide as the mathematical one that stands for it.
ROMAN = (
    *(354, 295, 531, 885, 531, 885, 826, 295, 413, 413, 531, 826, 295, 354, 295, 531),
    *(531, 531, 531, 531, 531, 531, 531, 531, 531, 531, 295, 295, 826, 826, 826, 502),
    *(826, 796, 752, 767, 811, 723, 693, 834, 796, 383, 545, 825, 664, 973, 796, 826),
    *(723, 826, 782, 590, 767, 796, 796, 1091, 796, 796, 649, 295, 531, 295, 531, 531),
    *(295, 531, 590, 472, 590, 472, 325, 531, 590, 295, 325, 561, 295, 885, 590, 531),
    *(590, 561, 414, 419, 413, 590, 561, 767, 561, 561, 472, 531, 295, 531, 531),
)
BOLD = (
    *(408, 340, 636, 1021, 613, 1021, 953, 340, 476, 476, 613, 953, 340, 408, 340, 613),
    *(613, 613, 613, 613, 613, 613, 613, 613, 613, 613, 340, 340, 953, 953, 953, 578),
    *(953, 922, 869, 885, 938, 803, 769, 962, 955, 459, 631, 956, 735, 1159, 955, 920),
    *(835, 920, 915, 681, 852, 939, 922, 1263, 922, 922, 749, 340, 636, 340, 613, 613),
    *(340, 595, 681, 544, 681, 561, 374, 613, 681, 340, 374, 647, 340, 1021, 681, 613),
    *(681, 647, 506, 483, 476, 681, 647, 885, 647, 647, 544, 613, 340, 613, 613),
)
PLUS_MINUS = 1.2  # of the type's size, with thin spaces around it
GAP = 6.0  # points between columns, twice LaTeX's \tabcolsep
SPARE = 1.0  # points of a column for kerning
HEADING = 30.0  # points that a heading may take above narrower cells before it breaks
NAMES = (0.5, 0.4, 0.3)  # of the width, at most, for the columns that name a row
WIDEST = 0.35  # of the width, at most, for any other column
TALL = 38  # lines of a table, above which it goes on in another one
SEAM = "\u200b"  # where a text may break without a space


def width_of(text: str, bold: bool = False) -> float:
    """Points that `text`, of printing ASCII and ±, takes in a line."""
    widths = BOLD if bold else ROMAN
    return sum(
        POINTS * (PLUS_MINUS if c == "±" else widths[ord(c) - 32] / 1000) for c in text if c != SEAM
    )


@dataclass(frozen=True)
class Column:
    """One column of a table for a page.

    Attributes:
        heading: above it; may break at spaces.
        texts: of its cells, printing ASCII and ± alone.
        left: whether it is words, which stand at the left; else numbers.
        bold: places of the cells that are set in bold.
        group: what stands above it and its neighbours of the same group.
    """

    heading: str
    texts: Sequence[str]
    left: bool = False
    bold: Collection[int] = ()
    group: str = ""


@dataclass(frozen=True)
class Set:
    """A column as it is set.

    Attributes:
        width: points; cells break into lines of this width where `wraps`.
        heading: its lines.
        texts: with a `SEAM` where a cell may break without a space.
    """

    column: Column
    width: float
    heading: tuple[str, ...]
    texts: tuple[str, ...]
    wraps: bool


@dataclass(frozen=True)
class Block:
    """Columns that fit a page beside each other, and the rows that fit it below each other.

    Attributes:
        rows: places in the columns' texts.
    """

    columns: tuple[Set, ...]
    rows: range = field(default_factory=lambda: range(0))

    @property
    def width(self) -> float:
        """Points, with the gaps between columns."""
        return sum(column.width for column in self.columns) + GAP * (len(self.columns) - 1)


def blocks(names: Sequence[Column], columns: Sequence[Column], width: float) -> list[Block]:
    """Tables of at most `width` points that together show all columns and rows.

    As few of them as can be: names break into more lines where that saves a table.

    Args:
        names: columns that say what a row is; every block begins with them.
    """
    tried = [_blocks(names, columns, width, share) for share in NAMES]
    return min(tried, key=len)


def _blocks(
    names: Sequence[Column], columns: Sequence[Column], width: float, share: float
) -> list[Block]:
    """Those with this share of the width for the columns of names."""
    stub = _names(names, share * width)
    room = width - sum(column.width + GAP for column in stub)
    parts: list[list[Set]] = [[]]
    left = room
    for group in _groups(columns):
        made = [_set(column, min(WIDEST * width, room)) for column in group]
        whole = sum(column.width + GAP for column in made)
        if parts[-1] and whole > left + GAP and whole <= room + GAP:
            parts.append([])  # a group stays together where it can
            left = room
        for column in made:
            if parts[-1] and column.width > left:
                parts.append([])
                left = room
            parts[-1].append(column)
            left -= column.width + GAP
    rows = _pages([*stub, *(column for part in parts for column in part)])
    return [Block((*stub, *part), page) for part in parts for page in rows]


def _names(columns: Sequence[Column], width: float) -> tuple[Set, ...]:
    """Columns in at most so many points together: narrow ones as they are, the widest breaks."""
    made: dict[int, Set] = {}
    left, count = width, len(columns)
    order = sorted(range(count), key=lambda at: max(map(width_of, columns[at].texts), default=0))
    for done, at in enumerate(order):
        made[at] = _set(columns[at], left / (count - done))
        left -= made[at].width
    return tuple(made[at] for at in range(count))


def _groups(columns: Sequence[Column]) -> list[list[Column]]:
    """Neighbours of the same group; a column without one is alone."""
    made: list[list[Column]] = []
    for column in columns:
        if made and column.group and made[-1][0].group == column.group:
            made[-1].append(column)
        else:
            made.append([column])
    return made


def _set(column: Column, most: float) -> Set:
    """A column in at most so many points."""
    natural = max(
        (width_of(text, at in column.bold) for at, text in enumerate(column.texts)), default=0.0
    )
    cells = min(natural + SPARE, most)
    word = max(map(width_of, column.heading.split()), default=0.0) + SPARE
    heading = _lines(column.heading, max(cells, min(max(HEADING, word), most)) - SPARE)
    width = max([cells, *(width_of(line) + SPARE for line in heading)])
    wraps = natural + SPARE > most
    texts = tuple(
        broken(text, width - SPARE, at in column.bold) if wraps else text
        for at, text in enumerate(column.texts)
    )
    return Set(column, width, tuple(heading), texts, wraps)


def _lines(text: str, width: float) -> list[str]:
    """Text in lines of at most so many points, broken at spaces, or wherever it must."""
    lines: list[str] = []
    for word in re.split(rf"[ {SEAM}]+", broken(text, width)):
        if lines and width_of(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def broken(text: str, width: float, bold: bool = False) -> str:
    """Text with a `SEAM` after commas, and in words that are wider than so many points.

    Those break behind signs where they can, and else wherever they must.
    """
    made = []
    for word in re.sub(r",(?=[^\s\d])", f",{SEAM}", text).split(" "):
        if any(width_of(piece, bold) > width for piece in word.split(SEAM)):
            word = re.sub(r"(?<=[=\[/:_-])(?=\w)", SEAM, word)
        line = ""
        for character in word:
            piece = line.rpartition(SEAM)[2]
            if piece and character != SEAM and width_of(piece + character, bold) > width:
                line += SEAM
            line += character
        made.append(line)
    return " ".join(made)


def _pages(columns: Sequence[Set]) -> list[range]:
    """Rows in lots of at most `TALL` lines."""
    count = max((len(column.texts) for column in columns), default=0)
    starts, used = [0], 0
    for at in range(count):
        lines = max(_height(column, at) for column in columns)
        if used and used + lines > TALL:
            starts.append(at)
            used = 0
        used += lines
    return [range(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _height(column: Set, at: int) -> int:
    """Lines of a cell."""
    return len(_lines(column.texts[at], column.width - SPARE)) if column.wraps else 1
