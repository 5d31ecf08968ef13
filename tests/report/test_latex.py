import re
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic import ABSENT, SEVERAL, record
from test_tables import nasty

from benchmark.records.comparison import comparisons
from benchmark.report.latex import escaped, latex
from benchmark.report.leaderboard import tables

GOLDEN = Path(__file__).parent / "golden"


def test_golden_latex():
    made = tables(comparisons(SEVERAL, ABSENT))
    text = "\n".join(latex(table) for table in made)
    assert text == (GOLDEN / "leaderboards.tex").read_text(encoding="utf-8")


def test_all_rows_of_the_first_rank_are_bold_and_no_other():
    accuracy, storage, *_ = tables(comparisons(SEVERAL, ABSENT))
    bold = [line for line in latex(accuracy).splitlines() if r"\bfseries" in line]
    assert [line.split("&")[0].strip() for line in bold] == [r"\bfseries 1="] * 2
    assert all(line.count(r"\bfseries") == 8 for line in bold)
    assert r"\bfseries" not in latex(storage)


def test_nothing_is_bold_without_ranks():
    (table, *_) = tables(comparisons([record("hard")]))
    assert r"\bfseries" not in latex(table)
    assert "bold" not in latex(table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 % of #1 $", r"a\_b \& 5 \% of \#1 \$"),
        ("{x}~^\\", r"\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
        ("±", r"$\pm$"),
        ("[k=1]", "{}[k=1]"),
        ("*", "{}*"),
        ("a[k=1]", "a[k=1]"),
        ("Zoë", "Zoe"),
        ("日", "U+65E5"),
    ],
)
def test_escapes(text, expected):
    assert escaped(text) == expected


def test_labels_are_the_files_names():
    for table in tables(comparisons(SEVERAL)):
        assert rf"\label{{tab:{table.name}}}" in latex(table)


@pytest.mark.parametrize("found", [SEVERAL, nasty()], ids=["plain", "hostile"])
def test_it_compiles_with_booktabs_alone(found, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    made = [latex(table) for table in tables(comparisons(found, ABSENT))]
    assert not re.search(r"[^\x20-\x7e\n]", "".join(made))
    lines = [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}"]
    document = "\n".join([*lines, *made, r"\end{document}"])
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1_000
