"""How many cells have ended, and how long the others take."""

import pytest

from benchmark.experiment import tally as module
from benchmark.experiment.grid import Cell, Variant
from benchmark.experiment.tally import Tally

CELLS = [Cell("rded", 10, Variant("hard"), "convnet-d3", seed) for seed in range(4)]


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The clock, to be set."""
    time = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    return time


def told(tally: Tally, capsys) -> str:
    tally.tell(next(iter(tally.waiting)), "5.0 s")
    return capsys.readouterr().err.strip().rpartition("seed ")[2]


def test_what_was_taken_corrects_what_is_expected(now, capsys):
    tally = Tally.of(CELLS, lambda cells: 100.0 * len(cells), None)
    now[0] = 200.0  # twice as long as expected
    assert told(tally, capsys) == "0: 5.0 s, about 10 min left"
    now[0] = 300.0
    assert told(tally, capsys) == "1: 5.0 s, about 5 min left"
    now[0] = 400.0
    told(tally, capsys)
    assert told(tally, capsys) == "3: 5.0 s"
    assert (tally.ended, tally.total) == (4, 4)


def test_what_is_not_expected_goes_by_the_cells_that_ended(now, capsys):
    tally = Tally.of(CELLS, lambda cells: None, None)
    now[0] = 30.0
    assert told(tally, capsys) == "0: 5.0 s, about 90 s left".replace("90 s", "2 min")


def test_no_more_is_left_than_there_is_time(now, capsys):
    tally = Tally.of(CELLS, lambda cells: 100.0 * len(cells), 150.0)
    now[0] = 100.0
    assert told(tally, capsys) == "0: 5.0 s, about 50 s left"


def test_cells_that_failed_before_are_counted(now, capsys):
    tally = Tally.of(CELLS, lambda cells: None, None)
    tally.drop(CELLS[:2])
    tally.tell(CELLS[2], "FAILED: no targets")
    assert capsys.readouterr().err.startswith("[3/4] ")
