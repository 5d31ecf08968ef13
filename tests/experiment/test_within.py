"""`--within`: what tells most comes first, and what does not fit is left out."""

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import GRID, quick_clock, run_main

from benchmark.api import within as told
from benchmark.core.errors import UserError
from benchmark.experiment import within
from benchmark.experiment.estimate import Estimate, Item
from benchmark.experiment.grid import Cell, Variant
from benchmark.experiment.within import fitting, measure_within, waves


@dataclass
class Estimator:
    """Every cell takes its own seconds, after the labels that its method's cells share."""

    labels: float = 10.0
    student: float = 2.0
    jobs: int = 1
    runner: Any = None
    experiment: Any = field(init=False)

    def __post_init__(self):
        self.experiment = SimpleNamespace(runtime=SimpleNamespace(jobs=self.jobs, share=False))
        self.runner = SimpleNamespace(names=lambda cell: {"source": "random", "draw": 0})

    def items(self, each):
        cell = each.cell
        return [
            Item("labels", cell.variant.method, self.labels),
            Item("students", cell.label, self.student),
        ]

    def of(self, cells, counted=()):
        found = {i.name: i.seconds for each in cells for i in self.items(each)}
        seconds = sum(s or 0.0 for name, s in found.items() if name not in counted)
        return Estimate({"students": seconds}, ())


def cells(*methods, seeds=2) -> Any:
    return [
        SimpleNamespace(cell=Cell("random", 2, Variant(method), "lenet", seed))
        for method in methods
        for seed in range(seeds)
    ]


def estimator_of(**options) -> Any:
    return Estimator(**options)


def named(waves):
    return [[(c.cell.variant.method, c.cell.seed) for c in wave] for wave in waves]


def test_controls_come_first_then_first_repeats_then_others():
    missing = cells("lpqld", "hard", "soft")
    one_by_one = named(waves(estimator_of(), missing))
    assert one_by_one == [
        [("hard", 0)],
        [("soft", 0)],
        [("lpqld", 0)],
        [("hard", 1)],
        [("soft", 1)],
        [("lpqld", 1)],
    ]
    assert named(waves(estimator_of(jobs=2), missing)) == [
        [("hard", 0), ("soft", 0)],
        [("lpqld", 0)],
        [("hard", 1), ("soft", 1)],
        [("lpqld", 1)],
    ]


def test_what_is_shared_is_waited_for_once():
    estimator, counted = estimator_of(), set()
    first, second, third = cells("lpqld", seeds=3)
    chosen, later, seconds = fitting(estimator, [first, second, third], 14.5, counted)
    assert (chosen, later, seconds) == ([first, second], [third], 14.0)
    assert fitting(estimator, [third], 2.5, counted)[0] == [third]


def clocked(monkeypatch, slower=1.0, budget=27.0):
    """What is measured in a time, where all takes `slower` times what was told."""
    now, done = [0.0], []
    monkeypatch.setattr(within.time, "monotonic", lambda: now[0])
    estimator, counted = estimator_of(), set()

    def work(chosen):
        now[0] += slower * estimator.of(chosen, counted).seconds
        counted.update(i.name for each in chosen for i in estimator.items(each))
        done.extend(chosen)
        return {}

    assert measure_within(estimator, cells("lpqld", "hard"), budget, work) == {}
    return named([done])[0], now[0]


def test_as_much_is_measured_as_fits(monkeypatch, capsys):
    done, taken = clocked(monkeypatch)
    assert done == [("hard", 0), ("lpqld", 0), ("hard", 1)]
    assert taken <= 27.0
    assert capsys.readouterr().err == (
        "left out for want of time: 1 of 4 cells, about 2 s more; "
        "give the same command again to go on\n"
    )


def test_what_was_measured_corrects_what_comes(monkeypatch):
    done, taken = clocked(monkeypatch, slower=2.0, budget=30.0)
    assert done == [("hard", 0), ("hard", 1)]
    assert taken <= 30.0


def test_a_run_leaves_out_what_does_not_fit_and_goes_on_the_next_time(tmp_path):
    command = ("run", *GRID, "--seeds", "2", "--methods", "hard", "--work", tmp_path / "work")
    # Seeds of their own groups, measured one after another.
    command = (*command, "--share-stream", "off")
    with quick_clock():
        code, out, err = run_main(*command, "--within", "0.001s")
        assert code == 0
        assert "left out for want of time: 2 of 2 cells" in err
        assert not list((tmp_path / "work").glob("records/*"))
        code, out, err = run_main(*command, "--within", "1h")
    assert code == 0
    assert re.findall(r"^\[.*\]", err, re.MULTILINE) == ["[1/2]", "[2/2]"]
    assert "left out" not in err
    assert len(list((tmp_path / "work").glob("records/*.json"))) == 2
    assert "hard" in out


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1d", 86400)]
)
def test_times_are_read(text, seconds):
    assert told.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-1h", "2w"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UserError, match="--within takes seconds, minutes, hours or days"):
        told.seconds(text)
