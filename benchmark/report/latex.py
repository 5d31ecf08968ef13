"""Tables as LaTeX, for papers: they need the package booktabs and nothing else.

What is written is measured (`typeset`), so no table is wider than its form, in any class.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .leaderboard import Table
from .names import short_names
from .typeset import SEAM, Block, Column, Set, blocks

ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        "±": r"\,$\pm$\,",
        SEAM: r"\allowbreak{}",
    }
)
NAMES = ("rank", "advice", "images", "method", "name", "take")  # columns that say what a row is
WORDS = (*NAMES, "prior", "frontier", "student", "recipe", "of", "world", "settings")
START = r"""\centering
\fontsize{8}{9.5}\selectfont
\setlength{\tabcolsep}{3pt}
"""
RANKS = " Rows that share a rank cannot be told apart from its best; bold: the first rank."


@dataclass(frozen=True)
class Form:
    """Where on the page a table or picture stands.

    Attributes:
        width: points that the standard classes leave there on A4, the narrower paper; those of
            conferences leave more.
        float: LaTeX's environment.
    """

    name: str
    width: float
    float: Literal["table", "table*"]


COLUMN = Form("column", 221.0, "table")  # one column of a paper in two
ACROSS = Form("across", 452.0, "table*")  # both columns of such a paper
PAGE = Form("page", 345.0, "table*")  # a paper in one column; stands in both kinds
FORMS = (COLUMN, ACROSS, PAGE)


def latex(table: Table, form: Form = PAGE) -> str:
    """A `table` with captions and labels; all rows of the first rank in bold.

    Methods have their names for readers; the CSV beside holds their options. What is too wide or
    too long for the form goes on in further tables, which name their rows anew.
    """
    frame = table.frame.copy()
    if "method" in frame:
        called = short_names(frame["method"])
        frame["method"] = [called[method] for method in frame["method"]]
    frame = frame.map(plain)
    best: list[int] = []
    caption = f"{table.kind.capitalize()}: {prose(table.title)}. {prose(table.below)}".strip()
    if table.kind == "accuracy":
        best = [at for at, rank in enumerate(table.frame["rank"]) if rank in ("1", "1=")]
        caption += RANKS * bool(best)
    columns = {
        name: Column(plain(name), list(frame[name]), name in WORDS, best) for name in frame.columns
    }
    names = [column for name, column in columns.items() if name in NAMES]
    rest = [column for name, column in columns.items() if name not in NAMES]
    return floats(blocks(names, rest, form.width), form, caption, f"tab:{table.name}")


def floats(made: Sequence[Block], form: Form, caption: str, label: str) -> str:
    """Tables as floating environments, numbered where there are several.

    Args:
        caption: LaTeX.
        label: of the first; `-2` and so on of those that follow.
    """
    parts = []
    for number, block in enumerate(made, 1):
        several = f" ({number} of {len(made)})" if len(made) > 1 else ""
        name = label if number == 1 else f"{label}-{number}"
        parts.append(
            f"\\begin{{{form.float}}}[t]\n\\emergencystretch=2em\n\\caption{{{caption}{several}}}\n"
            f"\\label{{{name}}}\n{START}{tabular(block)}\\end{{{form.float}}}\n"
        )
    return "\n".join(parts)


def tabular(block: Block) -> str:
    """One table without its float."""
    kinds = "".join(map(_kind, block.columns))
    lines = [f"\\begin{{tabular}}{{@{{}}{kinds}@{{}}}}", r"\toprule"]
    lines += _group_lines(block.columns)
    lines += [" & ".join(map(_heading, block.columns)) + r" \\", r"\midrule"]
    for at in block.rows:
        lines.append(" & ".join(_cell(column, at) for column in block.columns) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _kind(column: Set) -> str:
    if not column.wraps:
        return "l" if column.column.left else "r"
    return rf"p{{{column.width:.1f}pt}}"


def _cell(column: Set, at: int) -> str:
    text = escaped(column.texts[at])
    if at in column.column.bold:
        text = rf"\bfseries {text}"
    if not column.wraps:
        return text
    side = "raggedright" if column.column.left else "raggedleft"
    return rf"\{side}\let\\\tabularnewline {text}"


def _heading(column: Set) -> str:
    side = "l" if column.column.left else "r"
    if len(column.heading) == 1 and not column.wraps:
        return escaped(column.heading[0])
    lines = r" \\ ".join(map(escaped, column.heading))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{lines}\end{{tabular}}"


def _group_lines(columns: Sequence[Set]) -> list[str]:
    """What stands above neighbours of one group, and the rules below it."""
    if not any(column.column.group for column in columns):
        return []
    spans: list[tuple[str, int, int]] = []
    for at, column in enumerate(columns, 1):
        group = column.column.group
        if spans and group and spans[-1][0] == group:
            spans[-1] = (group, spans[-1][1], at)
        else:
            spans.append((group, at, at))
    cells = [
        rf"\multicolumn{{{last - first + 1}}}{{c}}{{{escaped(group)}}}" if group else ""
        for group, first, last in spans
    ]
    rules = [rf"\cmidrule(lr){{{first}-{last}}}" for group, first, last in spans if group]
    return [" & ".join(cells) + r" \\", " ".join(rules)]


def plain(text: str) -> str:
    """Text of printing ASCII and ±, as pdfLaTeX's fonts have it: without accents; other letters by
    their numbers."""
    return "".join(c if c == "±" else _plain(c) for c in text)


def escaped(text: str) -> str:
    """Text as pdfLaTeX sets it."""
    made = "".join(c if c in ("±", SEAM) else _plain(c) for c in text).translate(ESCAPES)
    # After a line's end LaTeX takes a bracket or a star for an argument.
    return "{}" + made if made.startswith(("[", "*")) else made


def prose(text: str) -> str:
    """Text for a caption, which may break within long names."""
    return re.sub(r"([=:/]|,(?=\D)|\\_|\])(?=\S)", r"\1\\allowbreak{}", escaped(text))


def _plain(character: str) -> str:
    if character.isascii():
        return character
    parts = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return parts or f"U+{ord(character):04X}"
