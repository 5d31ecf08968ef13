"""Leaderboards as LaTeX, for papers: they need the package booktabs and nothing else."""

import re
import unicodedata

from .leaderboard import Table

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
        "±": r"$\pm$",
    }
)
COLUMNS = {  # all others are numbers, at the right
    "rank": "l",
    "images": "l",
    "method": r"p{0.28\linewidth}",
    "prior": r"p{0.17\linewidth}",
}
START = r"""\centering
\footnotesize
\setlength{\tabcolsep}{3pt}
\def\leftcell{\raggedright\let\\\tabularnewline}
"""
RANKS = " Rows that share a rank cannot be told apart from its best; bold: the first rank."


def latex(table: Table) -> str:
    """A `table` with caption and label; all rows of the first rank in bold.

    Tables of storage and of throughput want a wide page.
    """
    frame = table.frame.map(escaped)
    frame.columns = [escaped(name) for name in frame.columns]
    for name in ("method", "prior"):
        if name in frame:
            frame[name] = [_in_lines(text) for text in frame[name]]
    best = set()
    caption = f"{table.kind.capitalize()}: {escaped(table.title)}. {escaped(table.below)}".strip()
    if table.kind == "accuracy":
        best = {at for at, rank in enumerate(table.frame["rank"]) if rank in ("1", "1=")}
        caption += RANKS * bool(best)
    styler = frame.style.hide(axis="index").apply(
        lambda row: ["bfseries:" if row.name in best else ""] * len(row), axis=1
    )
    text = styler.to_latex(
        column_format="".join(COLUMNS.get(name, "r") for name in table.frame.columns),
        position="t",
        position_float="centering",
        hrules=True,
        label=f"tab:{table.name}",
        caption=caption,
    )
    return text.replace("\\centering\n", START, 1)


def _in_lines(text: str) -> str:
    """Text that breaks at spaces, and between options."""
    return r"\leftcell " + re.sub(r",(?=\D)", r",\\allowbreak{}", text)


def escaped(text: str) -> str:
    """Text as pdfLaTeX sets it: without accents; other letters by their numbers."""
    made = "".join(c if c == "±" else _plain(c) for c in text).translate(ESCAPES)
    # After a line's end LaTeX takes a bracket or a star for an argument.
    return "{}" + made if made.startswith(("[", "*")) else made


def _plain(character: str) -> str:
    if character.isascii():
        return character
    parts = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return parts or f"U+{ord(character):04X}"
