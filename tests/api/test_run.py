"""`benchmark.run` is `python -m benchmark run`: the same words, keys and numbers."""

import inspect
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tiny import listing, quick_clock, run_tiny

import benchmark
from benchmark import Results, UserError
from benchmark.api import run as module
from benchmark.api.run import _understood
from benchmark.api.surroundings import Surroundings
from benchmark.core import plugins
from benchmark.core.command import options_of
from benchmark.experiment.grid import Grid

WORDS: dict[str, Any] = {
    "dataset": "digits",
    "students": "convnet-d2-w8",
    "teacher": "convnet-d2-w8",
    "images": ["random"],
    "ipc": 2,
    "recipe": "quick",
    "set": {"recipe.epochs": 2, "teacher.epochs": 1},
    "seeds": 1,
    "controls": False,
    "device": "cpu",
    "jobs": 1,
}
BROKEN = '''"""Fails where students train."""

from benchmark.methods.hard import Hard


class Broken(Hard):
    def targets(self, views, images, epoch):
        raise ValueError("no targets today")
'''


def run(work: Path, **words: Any) -> Results:
    with quick_clock():
        return benchmark.run(**{**WORDS, "work": work, **words})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Results]:
    """A work folder, and the results of the tiny grid in it."""
    work = tmp_path_factory.mktemp("python")
    return work, run(work, methods=["hard", "lpqld[k=2]"], budget=[2500])


def test_the_same_records_as_the_command_line(finished, tmp_path):
    _, results = finished
    run_tiny(tmp_path, "--methods", "hard,lpqld[k=2]", "--budget", "2500")
    theirs = [json.loads(file.read_text()) for file in (tmp_path / "records").glob("*.json")]
    assert len(theirs) == len(results.records) == 2

    def told(records: list[Any]) -> dict[str, tuple[Any, ...]]:
        return {
            r["key"]: (r["cell"], r["options"], r["inputs"], r["result"]["accuracy"],
                       r["result"]["correct"], r["result"]["train_loss"])
            for r in records
        }  # fmt: skip

    assert told(results.records) == told(theirs)


def test_records_are_those_on_disk_and_are_found_again(finished, capsys):
    work, results = finished
    files = [json.loads(file.read_text()) for file in (work / "records").glob("*.json")]
    by_key = sorted(files, key=lambda record: record["key"])
    assert sorted(results.records, key=lambda record: record["key"]) == by_key
    before = listing(work / "records")
    said = ["recipe.epochs=2", "teacher.epochs=1"]
    again = run(work, methods="hard,lpqld[k=2]", budget="2500", ipc="2", images="random", set=said)
    assert again.records == results.records
    assert listing(work / "records") == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("2 cells: 2 cached, 0 to run\n")


def test_every_word_of_the_command_line_is_one_of_python(monkeypatch):
    monkeypatch.delenv("LABELBENCH_DATA", raising=False)
    words = inspect.signature(benchmark.run).parameters
    of_grid = [option.name.replace("-", "_") for option in options_of(Grid).values()]
    assert {*words} == {*of_grid, *(field.name for field in fields(Surroundings))}
    defaults = {name: word.default for name, word in words.items() if word.default is not None}
    assert _understood({**dict.fromkeys(words), **defaults}) == ({}, Surroundings(plugin=[]))
    assert all(words[name].default is None for name in of_grid)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ({"ipc": [1, 10]}, {"ipc": ["1", "10"]}),
        ({"methods": "hello,lpqld[k=2,keep=0.1]"}, {"methods": ["hello", "lpqld[k=2,keep=0.1]"]}),
        ({"budget": ["40x", 300]}, {"budgets": ["40x", "300"]}),
        ({"set": ["a.b=c=d", "a.e=1"]}, {"set": {"a.b": "c=d", "a.e": "1"}}),
        ({"set": {"a.b": True, "a.c": [1, 2], "a.d": None}},
         {"set": {"a.b": "true", "a.c": "1,2", "a.d": "none"}}),
        ({"controls": False, "seeds": 4}, {"controls": False, "seeds": 4}),
    ],
)  # fmt: skip
def test_words_are_understood_as_the_command_line_gives_them(words, asked):
    signature = inspect.signature(benchmark.run)
    bound = signature.bind(**words)
    bound.apply_defaults()
    assert _understood(bound.arguments)[0] == asked


def test_the_data_root_is_the_environments(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(module, "measured", lambda asked, at: seen.append(at.data_root))
    monkeypatch.setenv("LABELBENCH_DATA", str(tmp_path))
    benchmark.run()
    benchmark.run(data_root="elsewhere")
    monkeypatch.delenv("LABELBENCH_DATA")
    benchmark.run()
    assert seen == [tmp_path, Path("elsewhere"), None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"methods": "lpqd"}, "Unknown method 'lpqd'. Did you mean 'lpqld'"),
        ({"methods": []}, "The grid names no methods"),
        ({"ipc": "ten"}, "grid.ipc.0 must be a whole number, got 'ten'"),
        ({"seeds": 0}, "grid.seeds must be at least 1, got 0"),
        ({"set": {"lpqld.kk": 3}}, "Unknown option of lpqld 'kk'. Did you mean 'k'"),
        ({"set": ["lpqld=3"]}, "--set takes NAME.OPTION=VALUE, got 'lpqld=3'"),
        ({"jobs": 0}, "--jobs takes auto, or a number from 1 to 1024, got '0'"),
        ({"precision": "fp8"}, "run.precision .*'fp8'"),
        ({"device": "gpu"}, "Unknown device 'gpu'"),
        ({"plugin": "absent.py"}, "'absent.py' is none"),
        ({"methods": "lpqld", "budget": 100}, "lpqld cannot meet a budget of 100 bytes"),
        ({"within": "soon"}, "--within takes seconds"),
    ],
)  # fmt: skip
def test_errors_are_raised_and_nothing_is_made(words, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "work", **words)
    assert not (tmp_path / "work").exists()


def test_what_fails_is_among_the_results(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    (tmp_path / "broken.py").write_text(BROKEN)
    results = run(tmp_path, methods="broken,hard", plugin=tmp_path / "broken.py")
    (failure,) = results.failures
    assert failure.cell == "broken on random IPC 2, convnet-d2-w8, seed 0"
    assert failure.message.startswith("ValueError: no targets today (in targets, broken.py, line")
    assert "Traceback" in failure.traceback
    assert [record["cell"]["method"] for record in results.records] == ["hard"]
    assert results.missing == [failure.cell]
    for shown in (results.table(), repr(results), results._repr_html_()):
        assert "ValueError: no targets today" in shown
    alone = run(tmp_path, methods="broken")
    assert (alone.records, len(alone.failures)) == ([], 1)
    assert "FAILED broken on random" in alone.table()
    assert alone.to_pandas().empty


def test_a_dry_run_says_what_is_missing(finished, capsys):
    work, _ = finished
    before = listing(work)
    planned = run(work, methods="hard,smoothed", dry_run=True)
    assert planned.missing == ["smoothed on random IPC 2, convnet-d2-w8, seed 0"]
    assert len(planned.cells) == 2
    assert [record["cell"]["method"] for record in planned.records] == ["hard"]
    assert listing(work) == before
    assert capsys.readouterr().out == ""


def test_a_method_left_out_is_told(tmp_path):
    planned = run(tmp_path, methods="lpqld,smoothed", budget=2500, dry_run=True)
    assert (
        "smoothed has no setting that changes its size" in planned.left_out["smoothed[budget=2500]"]
    )
    assert "left out smoothed[budget=2500]" in planned.table()


def test_importing_is_light():
    code = "import sys, benchmark; benchmark.run, benchmark.results; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
