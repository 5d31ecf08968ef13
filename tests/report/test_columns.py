"""A column is one definition: it is seen in every form of a table."""

import csv
import re
from dataclasses import replace

import pytest
from synthetic import SEVERAL

from benchmark.records.comparison import Row, comparisons
from benchmark.report import columns
from benchmark.report.columns import Column
from benchmark.report.leaderboard import tables
from benchmark.report.site import write_site
from benchmark.report.tables import write_tables

PER_IMAGE: Column[Row] = Column(
    "B an image", lambda row: row.storage["total"] / 100, lambda row: f"{row.storage['total']:,} c"
)


@pytest.fixture
def wider(monkeypatch):
    """Both tables with one column more."""
    monkeypatch.setattr(columns, "STORAGE", (*columns.STORAGE, PER_IMAGE))
    repeats = replace(columns.THROUGHPUT[0], name="again", text=lambda speed: "seen again")
    monkeypatch.setattr(columns, "THROUGHPUT", (*columns.THROUGHPUT, repeats))


def test_a_new_column_is_in_every_form(wider, tmp_path):
    found = comparisons(SEVERAL)
    storage, throughput = (
        next(t for t in tables(found) if t.kind == kind) for kind in ("storage", "throughput")
    )
    assert "B an image" in storage.text()
    assert "12,300 c" in storage.text()
    assert "seen again" in throughput.markdown()
    written = write_tables(found, tmp_path / "tables")
    kinds = {path.suffix for path in written}
    assert {".md", ".csv", ".tex", ".json"} <= kinds
    (sheet,) = [p for p in written if p.suffix == ".csv" and "storage" in p.name]
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "123.0" in {row["B an image"] for row in rows}
    latex = "".join(p.read_text() for p in written if p.suffix == ".tex")
    assert "B an image" in " ".join(re.sub(r"\\\\|[{}]", " ", latex).split()), latex
    write_site(found, tmp_path / "site")
    (page,) = (tmp_path / "site" / "comparison").glob("*.html")
    text = page.read_text()
    assert 'data-sort="123.0">12,300 c<' in text
    assert "seen again" in text


def test_each_column_has_a_value_to_sort_by_and_a_text():
    (comparison,) = comparisons(SEVERAL)
    for row in comparison.rows:
        for column in columns.STORAGE:
            assert isinstance(column.value(row), int | float)
            assert column.text(row)
    names = [column.name for column in (*columns.STORAGE, *columns.THROUGHPUT)]
    assert len({*names}) == len(names)
