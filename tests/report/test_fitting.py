"""Tables on a terminal: no line is wider, what is essential is there, what is not is named."""

from pathlib import Path

import pandas as pd
import pytest

from benchmark.api.results import results
from benchmark.records import measurements
from benchmark.report import distortion_tables, speed_tables
from benchmark.report.fitting import fitted
from benchmark.report.leaderboard import Table

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def tables() -> list[Table]:
    """Of published records, and of measurements."""
    timed = measurements.read([RESULTS / "speed.jsonl", RESULTS / "distortion.jsonl"])
    measured = [*speed_tables.tables(timed), *distortion_tables.tables(timed)]
    return [
        *results(RESULTS / "digits-quick.jsonl", RESULTS / "cifar10-qin.jsonl").tables(),
        *measured,
    ]


@pytest.mark.parametrize("width", [40, 80, 132])
def test_no_line_is_wider_than_the_terminal(tables, width):
    kinds = set()
    for table in tables:
        text = fitted(table, width)
        kinds.add(table.kind)
        assert max(map(len, text.splitlines())) <= width
        left_out = text.partition("No room for: ")[2].partition(" (--wide")[0].replace("\n", " ")
        heading = text.partition("---")[0].replace("\n", " ")
        for name in table.frame.columns:
            told = name in left_out or {*name.split()} <= {*heading.split()}
            assert told, (table.kind, name, text)
    assert {"accuracy", "frontier", "storage", "throughput", "profile", "distortion"} <= kinds


@pytest.mark.parametrize(
    ("kind", "essential"),
    [
        ("accuracy", ["rank", "method", "accuracy", "±", "n", "bytes"]),
        ("storage", ["method", "total", "ratio"]),
        ("throughput", ["method", "labels/s", "ratio"]),
        ("distortion", ["method", "bytes", "divergence", "agreement"]),
    ],
)
def test_80_columns_have_what_a_table_is_read_for(tables, kind, essential):
    for table in tables:
        if table.kind == kind:
            heading = fitted(table, 80).partition("\n-")[0].split()
            assert set(essential) <= {*heading}


def test_without_a_width_nothing_is_left_out(tables):
    assert [fitted(table, None) for table in tables] == [table.text() for table in tables]


def test_the_text_by_hand():
    frame = pd.DataFrame(
        {
            "method": ["hello[epochs=3]", "hard"],
            "accuracy %": ["91.04", "9.10"],
            "bytes": ["1,000", "2"],
            "prior": ["a model with a name that has no end (338,000,000 B)", "-"],
        }
    )
    table = Table("accuracy", "digits, " + "IPC 10, " * 5 + "end", "", frame, "Below.\nMore.")
    assert fitted(table, 42).splitlines() == [
        "ACCURACY | digits, IPC 10, IPC 10, IPC 10,",
        "  IPC 10, IPC 10, end",
        "             accuracy",
        "method              %  bytes",
        "-----------  --------  -----",
        "HeLlO           91.04  1,000",
        "Hard labels      9.10      2",
        "No room for: prior (--wide shows all).",
        "Below.",
        "More.",
    ]
