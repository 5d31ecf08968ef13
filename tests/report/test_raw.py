import csv
import io
import math

from synthetic import SEVERAL, record

from benchmark.records.comparison import comparisons
from benchmark.report.leaderboard import tables
from benchmark.report.raw import as_csv, raw_tables


def test_sheets_hold_numbers_alone():
    found = comparisons(SEVERAL)
    raw = raw_tables(found)
    assert {(t.kind, t.title) for t in tables(found)} <= raw.keys()
    words = {"images", "method", "name", "prior"}
    for lines in raw.values():
        for line in csv.DictReader(io.StringIO(as_csv(lines))):
            for name, value in line.items():
                if name not in words and value not in ("", "True", "False", "never"):
                    assert math.isfinite(float(value)), name


def test_lines_stand_as_in_the_tables_for_readers():
    found = comparisons(SEVERAL)
    raw = raw_tables(found)
    for table in tables(found):
        if "method" in table.frame and table.kind != "replications":
            lines = raw[table.kind, table.title]
            assert [line["method"] for line in lines] == table.frame["method"].tolist()


def test_a_small_ratio_is_not_nothing():
    from benchmark.report.columns import times

    assert [times(ratio) for ratio in (40, 0.92, 0.1, 0.0312)] == [
        "40.0x",
        "0.9x",
        "0.1x",
        "0.031x",
    ]


def test_names_are_apart_within_a_comparison():
    made = [record(f"hello[epochs={n}]", 0, 0.5) for n in (3, 4)]
    (lines,) = [
        lines for (kind, _), lines in raw_tables(comparisons(made)).items() if kind == "accuracy"
    ]
    assert {line["name"] for line in lines} == {"HeLlO, epochs=3", "HeLlO, epochs=4"}
