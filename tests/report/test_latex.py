import re
from pathlib import Path

import pytest
from synthetic import ABSENT, SEVERAL, record
from test_tables import nasty
from typesetting import complaints, needs_tex

from benchmark.records.comparison import comparisons
from benchmark.report.latex import FORMS, PAGE, escaped, latex, prose
from benchmark.report.leaderboard import tables

GOLDEN = Path(__file__).parent / "golden"


def test_golden_latex():
    made = tables(comparisons(SEVERAL, ABSENT))
    text = "\n".join(latex(table) for table in made)
    assert text == (GOLDEN / "leaderboards.tex").read_text(encoding="utf-8")


def test_all_rows_of_the_first_rank_are_bold_and_no_other():
    accuracy, storage, *_ = tables(comparisons(SEVERAL, ABSENT))
    text = latex(accuracy)
    bold = [line for line in text.splitlines() if r"\bfseries" in line]
    parts = text.count(r"\begin{table*}")  # each names its rows anew
    assert [line.split("&")[0].strip() for line in bold] == [r"\bfseries 1="] * 2 * parts
    assert all(line.count(r"\bfseries") == line.count("&") + 1 for line in bold)
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
        ("±", r"\,$\pm$\,"),
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


def test_captions_may_break_within_long_names():
    assert prose("teachers/a_b (1,000 B)") == (r"teachers/\allowbreak{}a\_\allowbreak{}b (1,000 B)")


def test_methods_have_their_names_for_readers():
    accuracy = latex(tables(comparisons(SEVERAL))[0])
    assert "& LPQLD 40x &" in accuracy.replace(r"\bfseries ", "")
    assert "lpqld[" not in accuracy


@needs_tex
@pytest.mark.parametrize("found", [SEVERAL, nasty()], ids=["plain", "hostile"])
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn", "a4paper,twocolumn", "11pt"])
def test_all_tables_compile_with_booktabs_alone_and_none_is_too_wide(found, columns, tmp_path):
    forms = FORMS if "twocolumn" in columns else (PAGE,)
    made = [latex(table, form) for form in forms for table in tables(comparisons(found, ABSENT))]
    assert not re.search(r"[^\x20-\x7e\n]", "".join(made))
    lines = [
        rf"\documentclass[{columns}]{{article}}",
        r"\usepackage{booktabs}",
        r"\begin{document}",
    ]
    file = tmp_path / "paper.tex"
    file.write_text("\n\\clearpage\n".join(["\n".join(lines), *made, r"\end{document}"]), "utf-8")
    assert complaints(file) == []
