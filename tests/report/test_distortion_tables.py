"""Tables of distortion."""

from pathlib import Path
from typing import Any

from benchmark.records import measurements
from benchmark.report.distortion_tables import tables

RESULTS = Path(__file__).parents[2] / "results" / "distortion.jsonl"


def test_small_figures_keep_their_digits():
    (table, *_) = tables(measurements.read([RESULTS]))
    figures = [float(text) for text in table.frame["divergence (nats)"]]
    records: Any = measurements.read([RESULTS])
    known = [record["loss"]["divergence"] for record in records]
    assert min(figures) > 0
    for figure in figures:
        assert any(abs(figure - value) <= 0.005 * value for value in known)
    assert "0.0%" not in set(table.frame["squared error"])
