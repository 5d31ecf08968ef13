import re
import subprocess
import sys

import pytest
from synthetic import SEVERAL, record, repeats
from test_tables import nasty
from tiny import run_main
from typesetting import complaints, needs_tex

from benchmark.core.errors import UserError
from benchmark.records import store
from benchmark.records.comparison import comparisons
from benchmark.report.latex import ACROSS, COLUMN, PAGE
from benchmark.report.paper import FIGURES, Choice, paper_tables
from benchmark.report.paper_files import write_paper
from benchmark.report.paper_pictures import POINTS, paper_pictures

SMALLER = [
    *repeats("soft", [0.60, 0.61, 0.62], total=1_300, ipc=1),
    *repeats("hard", [0.40, 0.42, 0.41], ipc=1),
]
EVERYTHING = comparisons([*SEVERAL, *SMALLER])


def rows(text: str) -> list[str]:
    """The lines of a table's body, plain."""
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    return body.replace(r"\bfseries ", "").replace(r"\,$\pm$\,", "±").splitlines()


def test_a_comparison_is_a_table_for_one_column_and_those_of_all_ipcs_one_for_a_page():
    made = paper_tables(EVERYTHING, Choice())
    assert [table.form for table in made] == [COLUMN, COLUMN, ACROSS, PAGE]
    small, large, across, page = (table.text for table in made)
    assert rows(small) == [r"Soft labels & 61.0±2.5 & 1.3 \\", r"Hard labels & 41.0±2.5 & 0.5 \\"]
    assert rows(large)[0] == r"Soft labels & 81.0±2.5 & 12.3 \\"
    assert r"\multicolumn{2}{c}{IPC 1} & \multicolumn{2}{c}{IPC 10}" in across
    assert rows(across) == rows(page)
    assert r"LPQLD 40x & -- & -- & 80.3±3.8 & 0.3 \\" in rows(across)


def test_methods_stand_as_they_are_chosen_and_others_do_not():
    choice = Choice(("hard", "rded/lpqld"), ("rank", "n", "ratio", "bytes"))
    table = paper_tables(comparisons(SEVERAL), choice)[0]
    assert rows(table.text) == [
        r"Hard labels & 3 & 3 & 24.0x & 0.5 \\",
        r"LPQLD 40x & 1= & 3 & 40.0x & 0.3 \\",
    ]


def test_every_column_shows_something():
    table = paper_tables(comparisons(SEVERAL), Choice(("lpqld",), tuple(FIGURES)))[1]
    assert "of 2)" not in table.text
    (row,) = rows(table.text)
    assert row == (
        r"LPQLD 40x & 80.3±3.8 & 1= & 3 & 0.3 & 40.0x & 6.3 & +29.3 & 1.25 & 50,000 & 0.0 \\"
    )


def test_the_first_rank_is_bold_in_accuracy_alone():
    text = paper_tables(comparisons(SEVERAL), Choice())[0].text
    bold = re.findall(r"\\bfseries (\S+)", text)
    assert bold == [r"81.0\,$\pm$\,2.5", r"80.3\,$\pm$\,3.8"]
    assert "Bold: the first rank" in text


def test_the_caption_says_setting_units_priors_and_whom_to_cite():
    table = paper_tables(comparisons(SEVERAL), Choice())[0]
    caption = re.sub(r"\\allowbreak\{\}", "", table.text.partition(r"\caption{")[2])
    for told in (
        "digits, IPC 10, convnet-d3, recipe quick, teacher resnet18 (95.00\\%), NVIDIA Test",
        "half of the 95 \\% interval",
        "kB (1,000 bytes) shipped beyond the images",
        "Repeats: 1 to 3.",
        "Images: rded.",
        "Public models that must be there: HeLlO (7.4 MB).",
        r"LPQLD~\cite{xiao2026soft}",
    ):
        assert told in caption, told
    assert {entry.key for entry in table.entries} >= {"xiao2026soft", "yu2025heavy"}


def test_images_are_a_column_where_there_are_several():
    found = comparisons([*SEVERAL, record("hard", 0, 0.3, images="noise")])
    assert r"noise & Hard labels" in paper_tables(found, Choice(("hard",)))[0].text


@pytest.mark.parametrize(
    ("methods", "columns", "message"),
    [
        (("lpqlt",), ("accuracy",), "Did you mean 'lpqld"),
        ((), ("acuracy",), "Did you mean 'accuracy'"),
    ],
)
def test_what_is_not_there_is_told(methods, columns, message):
    with pytest.raises(UserError, match=message):
        paper_tables(comparisons(SEVERAL), Choice(methods, columns))


def test_pictures_are_as_wide_as_their_place_in_computer_modern():
    made = paper_pictures(EVERYTHING, Choice())
    assert [picture.form for picture in made] == [COLUMN, COLUMN, ACROSS, PAGE]
    for picture in made:
        data = picture.saved()
        assert data.startswith(b"%PDF")
        (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)
        assert float(box[0]) == pytest.approx(picture.form.width * 72 / POINTS, abs=0.1)
        assert b"Cmr10" in data
        (legend,) = picture.figure.legends
        assert legend.get_window_extent().width <= picture.figure.bbox.width
        assert all(axes.get_position().width > 0.1 for axes in picture.figure.axes)
    names = [text.get_text() for text in made[1].figure.legends[0].get_texts()]
    assert names[:3] == ["Soft labels", "LPQLD", "HeLlO"]


def test_the_same_records_give_the_same_files(tmp_path):
    for folder in ("one", "two"):
        write_paper(EVERYTHING, tmp_path / folder, Choice())
    one, two = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


@needs_tex
@pytest.mark.parametrize("found", [[*SEVERAL, *SMALLER], nasty()], ids=["plain", "hostile"])
def test_the_documents_show_all_of_it_and_nothing_is_too_wide(found, tmp_path):
    choice = Choice(columns=tuple(FIGURES))
    paths = write_paper(comparisons(found), tmp_path, choice)
    cites = (tmp_path / "labelbench.bib").exists()
    documents = ["one-column.tex", "two-columns.tex"]
    texts = "".join((tmp_path / name).read_text("utf-8") for name in documents)
    for path in paths:
        if path.name not in (*documents, "labelbench.bib"):
            assert path.name in texts
    for name in documents:
        assert complaints(tmp_path / name, cites) == []


def test_the_command_writes_what_is_chosen(tmp_path):
    for made in [*SEVERAL, *SMALLER]:
        store.write(tmp_path / "records", made)
    words = ("--methods", "hard,lpqld[budget=40x]", "--columns", "bytes", "--ipc", "10")
    code, out, err = run_main(
        "leaderboard", tmp_path / "records", "--paper", tmp_path / "paper", *words
    )
    assert code == 0, err
    assert "IPC 1," not in out
    (table,) = (tmp_path / "paper").glob("digits-*-column.tex")
    assert rows(table.read_text("utf-8")) == [r"Hard labels & 0.5 \\", r"LPQLD 40x & 0.3 \\"]
    assert f"wrote {tmp_path / 'paper' / 'labelbench.bib'}" in out
    code, out, err = run_main("leaderboard", tmp_path / "records", "--ipc", "20")
    assert code == 2
    assert "Unknown IPC in these records '20'" in err


def test_tables_for_papers_need_no_matplotlib():
    code = "import sys, benchmark.report.paper; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
