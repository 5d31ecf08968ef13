"""A run that says how long it takes, and one that stops in time."""

import re
import time

import pytest
import torch
from tiny import GRID, WORDS, listing, pictures, quick_clock, run_main, run_tiny

from benchmark.api.within import seconds
from benchmark.core.device import choose
from benchmark.core.errors import UserError
from benchmark.data.streamed import StreamedImages
from benchmark.experiment import pace
from benchmark.experiment.estimate import Estimate, said, spoken

METHODS = ("--methods", "hard,soft,smoothed")


def told(*arguments: object) -> str:
    """What a run says on standard error."""
    with quick_clock():
        code, _, err = run_main("run", *GRID, *arguments)
    assert code == 0, err
    return err


def test_a_run_says_what_each_stage_takes(tmp_path):
    said = told(*METHODS, "--work", tmp_path)
    (line,) = re.findall(r"^it takes about .*", said, re.MULTILINE)
    for stage in ("teacher", "images", "labels", "students", "tests and timing"):
        assert f"{stage} " in line


@pytest.mark.parametrize("part", ["of_reading", "of_weighing"])
def test_pictures_that_are_decoded_or_weighed_take_time(tmp_path, monkeypatch, part):
    monkeypatch.setattr(pace.Pace, part, 1000.0)  # of each of 2 images of 10 classes
    assert ", images 5 h 30 min, " in told(*METHODS, "--work", tmp_path)


def test_only_pictures_that_are_streamed_are_decoded_as_they_are_read():
    compute = choose("cpu", "fp32")
    assert pace.Pace(pictures(20), compute).of_reading == 0

    class Slow(StreamedImages):
        def __init__(self) -> None:
            self.labels = torch.arange(200) % 10

        def take(self, indices: torch.Tensor) -> torch.Tensor:
            time.sleep(0.064)
            return indices

    assert 0.001 <= pace.Pace(Slow(), compute).of_reading < 0.01


def test_a_second_run_has_nothing_to_tell(tmp_path):
    told(*METHODS, "--work", tmp_path)
    assert "it takes" not in told(*METHODS, "--work", tmp_path)


def test_a_dry_run_goes_by_what_was_measured(tmp_path):
    nothing = told(*METHODS, "--work", tmp_path, "--dry-run")
    assert "how long it takes is known once the run has timed a few steps" in nothing
    run_tiny(tmp_path, *METHODS)
    before = listing(tmp_path)
    more = told(*METHODS, "--seeds", 5, "--work", tmp_path, "--dry-run")
    assert re.search(r"^it takes about \d+ s \(", more, re.MULTILINE)
    assert listing(tmp_path) == before


def test_first_repeats_come_first_and_controls_before_them(tmp_path):
    said = told(
        "--methods", "smoothed,soft,hard", "--seeds", 2, "--work", tmp_path, "--within", "1d"
    )
    order = re.findall(r"^\[\d/\d\] (\w+) on .*, seed (\d):", said, re.MULTILINE)
    assert order == [(m, s) for s in "01" for m in ("soft", "hard", "smoothed")]
    assert "left out" not in said


def test_what_does_not_fit_is_left_out(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "benchmark.experiment.estimate.Estimator.of",
            lambda self, cells, counted=(): Estimate({"students": 400.0 * len(cells)}, ()),
        )
        said = told(*METHODS, "--work", tmp_path, "--within", "5m")
    assert "left out for want of time: 3 of 3 cells, about 20 min more; give the same" in said
    assert not list(tmp_path.glob("records/*"))
    # With time, the same command goes on.
    told(*METHODS, "--work", tmp_path, "--within", "1h")
    assert len(list((tmp_path / "records").iterdir())) == 3


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1.5h", 5400)]
)
def test_times_are_read(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-1h", "1w", "1e3s"])
def test_times_that_are_none_are_refused(text, tmp_path):
    with pytest.raises(UserError, match="--within takes seconds, minutes, hours or days as 90s"):
        seconds(text)
    code, _, err = run_main("run", *WORDS, "--work", tmp_path / "w", f"--within={text}")
    assert code == 2
    assert "as 90s, 30m, 2h or 1d, got" in err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("taken", "words"),
    [(0.2, "1 s"), (80, "80 s"), (600, "10 min"), (12_000, "3 h 20 min"), (42_076_800, "487 days")],
)
def test_times_are_spoken(taken, words):
    assert spoken(taken) == words


def test_a_grid_that_is_meant_for_a_gpu_is_told(tmp_path):
    long = Estimate({"students": 42_076_800.0}, ())
    assert said(long, "cpu", timed=True) == [
        "it takes about 487 days: meant for a GPU (students 487 days)"
    ]
    assert "meant" not in said(long, "cuda", timed=True)[0]
    part = Estimate({"students": 60.0}, ("the fit of x",))
    assert said(part, "cpu", timed=True) == [
        "it takes at least about 60 s (students 60 s)",
        "not known: how long the fit of x takes",
    ]
