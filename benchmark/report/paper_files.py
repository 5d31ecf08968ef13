"""A folder for a paper: tables, pictures, a bibliography, and documents that show them all."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..core.files import write_atomic
from ..records.comparison import Comparison
from .citations import bibliography
from .latex import ACROSS, COLUMN, PAGE, prose
from .paper import Choice, paper_tables
from .paper_pictures import paper_pictures

BIBLIOGRAPHY = "labelbench.bib"
# Which forms each document shows, and the option of its class.
DOCUMENTS = {
    "one-column.tex": ("onecolumn", (PAGE,)),
    "two-columns.tex": ("twocolumn", (COLUMN, ACROSS)),
}


def write_paper(found: Iterable[Comparison], folder: Path, choice: Choice) -> list[Path]:
    """Write what `choice` says of these comparisons, each form in files of its own.

    `one-column.tex` and `two-columns.tex` show all of it; `pdflatex`, `bibtex` and twice
    `pdflatex` more make their pages.

    Raises:
        UserError: a method that is chosen has no row.
    """
    found = list(found)
    tables = paper_tables(found, choice)
    pictures = paper_pictures(found, choice)
    entries = [entry for table in tables for entry in table.entries]
    files = {f"{table.name}.tex": table.text.encode() for table in tables}
    files |= {f"{picture.name}.pdf": picture.saved() for picture in pictures}
    if entries:
        files[BIBLIOGRAPHY] = bibliography(entries).encode()
    for name, (columns, forms) in DOCUMENTS.items():
        shown = [(table.form.float, table.name, "") for table in tables if table.form in forms]
        drawn = [
            (picture.form.float.replace("table", "figure"), picture.name, picture.title)
            for picture in pictures
            if picture.form in forms
        ]
        files[name] = _document(columns, shown, drawn, cites=bool(entries)).encode()
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in sorted(files)]


def _document(
    columns: str,
    tables: Sequence[tuple[str, str, str]],
    pictures: Sequence[tuple[str, str, str]],
    cites: bool,
) -> str:
    """One that shows tables and pictures, each given by its float, file and title."""
    lines = [
        rf"\documentclass[{columns}]{{article}}",
        r"\usepackage{booktabs}",
        r"\usepackage{graphicx}",
        r"\begin{document}",
    ]
    for _, name, _ in tables:
        lines += [rf"\input{{{name}.tex}}", r"\clearpage"]
    for kind, name, title in pictures:
        lines += [
            rf"\begin{{{kind}}}[t]",
            r"\centering\emergencystretch=2em",
            rf"\includegraphics{{{name}.pdf}}",
            rf"\caption{{{prose(title)}.}}",
            rf"\end{{{kind}}}",
            r"\clearpage",
        ]
    if cites:
        stem = BIBLIOGRAPHY.removesuffix(".bib")
        lines += [r"\bibliographystyle{plain}", rf"\bibliography{{{stem}}}"]
    return "\n".join([*lines, r"\end{document}", ""])
