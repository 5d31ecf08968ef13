"""Cells that share a stream, and processes side by side: the same records, sooner."""

import json
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny import GRID, WORDS, interrupted, quick_clock, run_main, run_tiny

from benchmark.core import plugins
from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.experiment import evaluate, jobs
from benchmark.experiment.throughput import Timings
from benchmark.methods.soft import Soft

METHODS = ("--methods", "hard,soft,lpqld", "--seeds", "3")
CPU, GPU = Compute(torch.device("cpu"), False), Compute(torch.device("cuda"), True)
BROKEN = '''"""A plugin."""

import os

from benchmark.methods.hard import Hard


class Broken(Hard):
    def targets(self, views, images, epoch):
        {}
'''


def records(work: Path) -> dict[str, dict]:
    found = [json.loads(file.read_text()) for file in (work / "records").glob("*.json")]
    return {f"{r['cell']['method']} {r['cell']['seed']}": r for r in found}


def results(work: Path) -> dict[str, tuple]:
    """What must not depend on how cells were measured."""
    kept = ("accuracy", "correct", "train_loss")
    return {
        name: tuple(str(record["result"][field]) for field in kept)
        for name, record in records(work).items()
    }


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory) -> Path:
    """Records of students that were each trained alone, on one thread."""
    work = tmp_path_factory.mktemp("one") / "work"
    with on_threads(1):
        run_tiny(work, *METHODS, "--share-stream", "off")
    return work


def test_students_that_share_a_stream_reach_the_same_to_the_bit(one_by_one, tmp_path):
    with on_threads(1):
        run_tiny(tmp_path, *METHODS)
    assert results(tmp_path) == results(one_by_one)
    told = {name: record["result"].get("batched") for name, record in records(tmp_path).items()}
    assert told["soft 1"] == {"students": 3, "stacked": False, "jobs": 1}
    assert told["lpqld 1"] is None  # draws by the student's seed
    assert not any(r["result"].get("batched") for r in records(one_by_one).values())


def test_targets_are_made_once_for_all_seeds(tmp_path, monkeypatch):
    asked = []
    of_soft = Soft.targets
    monkeypatch.setattr(Soft, "targets", lambda *a: asked.append(1) or of_soft(*a))
    timings = Timings(20, [1.0], [1.0], [1.0], None)
    monkeypatch.setattr(evaluate, "measure", lambda *_: timings)  # of each student alone
    counts = {}
    for share in ("auto", "off"):
        asked.clear()
        run_tiny(tmp_path / share, "--methods", "soft", "--seeds", 4, "--share-stream", share)
        counts[share] = len(asked)
    assert counts == {"off": 4 * 2, "auto": 2 + 2}  # what is shared is checked first, of two


@dataclass(frozen=True)
class Run:
    """What a run on two jobs was asked for, what it said, and where it was."""

    words: tuple[object, ...]
    code: int
    said: str
    work: Path


@pytest.fixture(scope="module")
def side_by_side(one_by_one, tmp_path_factory) -> Run:
    """The same students, beside some of a method that raises, and of one that kills its job."""
    folder = tmp_path_factory.mktemp("two")
    added = list[object]()
    for name, body in (("broken", 'raise KeyError("x")'), ("killed", "os.kill(os.getpid(), 9)")):
        (folder / f"{name}.py").write_text(BROKEN.format(body))
        added += ["--plugin", folder / f"{name}.py"]
    # The same teacher: with all threads it is trained to other roundings.
    shutil.copytree(one_by_one / "stages", folder / "work" / "stages")
    names = ("--methods", "hard,soft,lpqld,broken,killed", "--seeds", "3")
    words = ("run", *WORDS, *names, *added, "--work", folder / "work")
    with on_threads(2), pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_added", {})
        code, _, said = run_main(*words)
    return Run(words, code, said, folder / "work")


def test_jobs_side_by_side_reach_the_same_to_the_bit(one_by_one, side_by_side, monkeypatch):
    work = side_by_side.work
    assert results(work) == results(one_by_one)
    found = records(work).values()
    assert {record["world"]["threads"] for record in found} == {1}
    assert {record["result"]["batched"]["jobs"] for record in found} == {2}
    told = re.findall(r"^\[(\d+)/15\] ", side_by_side.said, re.MULTILINE)
    assert sorted(map(int, told)) == [*range(1, 16)]
    # Another run finds all cells, in the same world.
    monkeypatch.setattr(plugins, "_added", {})
    with on_threads(2):
        said = run_main(*side_by_side.words, "--jobs", "2", "--dry-run")[2]
    assert "15 cells: 9 cached, 6 to run" in said


def test_jobs_that_fail_or_die_leave_the_others(side_by_side):
    said, where = side_by_side.said, "on random IPC 2, convnet-d2-w8, seed 0"
    raised = "KeyError: 'x' (in targets, broken.py, line 10)"
    died = "The job's process died; the system may be out of memory."
    assert side_by_side.code == 2
    assert f"broken {where}: FAILED: {raised}" in said
    assert f"killed {where}: FAILED: {died}" in said
    assert f"error: 6 of 15 cells failed (see {side_by_side.work / 'failures'}): " in said
    assert "Traceback" not in said


def test_interrupted_jobs_end_and_say_what_is_kept(tmp_path):
    arguments = (*WORDS, "--methods", "hard,soft", "--jobs", "2")
    said = interrupted(tmp_path, arguments, signal.SIGTERM)
    assert said[-1].startswith("interrupted: 0 of 2 cells are recorded in ")


def test_whoever_is_impatient_is_told_in_a_line_too(tmp_path):
    arguments = (*WORDS, "--methods", "hard,soft", "--jobs", "2")
    said = interrupted(tmp_path, arguments, signal.SIGINT, again=True)
    assert "interrupted already: what is at work is being ended" in said
    # The line of a second Ctrl-C comes before or after it, as the processes end.
    assert sum(line.startswith("interrupted: 0 of 2 cells are recorded in ") for line in said) == 1


def test_how_many_jobs(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(jobs, "_free_memory", lambda: 100 * 2**30)
    assert jobs.number_of("auto", CPU, 40) == 8
    assert jobs.number_of("auto", CPU, 3) == 3
    assert jobs.number_of("auto", CPU, 0) == 1
    assert jobs.number_of("auto", GPU, 40) == 1
    assert jobs.number_of("6", GPU, 40) == 6
    monkeypatch.setattr(jobs, "_free_memory", lambda: 7 * 2**30)
    assert jobs.number_of("auto", CPU, 40) == 2
    for asked in ("0", "two", "-1", "1025", ""):
        with pytest.raises(UserError, match="--jobs takes auto, or a number from 1 to 1024, got "):
            jobs.number_of(asked, CPU, 1)


SEEDED = '''"""Draws by the student's seed, and does not say so."""

from benchmark.methods.hard import Hard


class Drawn(Hard):
    def targets(self, views, images, epoch):
        return super().targets(views, images, epoch).roll(self.task.seed, 1)
'''


def test_a_method_that_draws_by_the_seed_has_to_say_so(tmp_path):
    plugin = tmp_path / "drawn.py"
    plugin.write_text(SEEDED)
    arguments = ("--methods", "drawn", "--plugin", plugin, "--seeds", 2)
    try:
        with quick_clock():
            code, _, err = run_main("run", *GRID, "--work", tmp_path / "work", *arguments)
        assert code == 2
        assert "drawn gives students of other seeds other views or targets" in err
        plugin.write_text(SEEDED + "\n    seeded = True\n")
        run_tiny(tmp_path / "work", *arguments)
    finally:
        plugins.drop(plugin)
    assert len(records(tmp_path / "work")) == 2
