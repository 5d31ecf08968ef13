"""Pages that LaTeX makes, and what it says of them; where TeX is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

needs_tex = pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("bibtex")),
    reason="no TeX here: apt-get install texlive-latex-base texlive-latex-recommended",
)


def complaints(document: Path, cites: bool = False) -> list[str]:
    """What pdfLaTeX has against a document: errors, what is too wide or too long, what it misses.

    Args:
        cites: whether it has a bibliography, which takes more passes.
    """
    said = ""
    for tool in ("pdflatex", *(("bibtex", "pdflatex", "pdflatex") if cites else ())):
        options = ["-interaction=nonstopmode"] if tool == "pdflatex" else []
        done = subprocess.run(
            [tool, *options, document.stem],
            cwd=document.parent,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
        )
        said = done.stdout
        if tool == "bibtex":
            assert done.returncode == 0, said
            assert "Warning" not in said, said
    assert document.with_suffix(".pdf").stat().st_size > 1_000
    return re.findall(r"^(?:!|Overfull|.*Float too large|.*undefined).*$", said, re.MULTILINE)
