import json
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS, quick_clock, run_main

from benchmark.core import plugins
from benchmark.experiment import fitter, profile, step_parts
from benchmark.records import measurements


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(step_parts, "COPIED_BYTES", 1000)
    monkeypatch.setattr(plugins, "_added", {})
    with quick_clock():
        yield


def found_in(work: Path) -> list[Any]:
    return measurements.read([work])


def profiled(work: Path, *words: object) -> tuple[int, str, str]:
    return run_main("profile", *WORDS, "--work", work, *words)


def test_each_method_and_student_has_a_record(tmp_path):
    students = "convnet-d2-w8,convnet-d1-w8"
    words = ("--methods", "hard,lpqld[k=4]", "--students", students, "--seeds", "3")
    code, out, err = profiled(tmp_path, *words)
    assert code == 0, err
    found = found_in(tmp_path)
    assert {(r["cell"]["method"], r["cell"]["student"]) for r in found} == {
        (method, network) for method in ("hard", "lpqld[k=4]") for network in students.split(",")
    }
    assert "[4/4] " in err
    assert f"records: {tmp_path / 'profile.jsonl'}" in err
    (title, _, _, *rows) = out.splitlines()
    assert title.startswith("PROFILE | digits, IPC 2, images random, recipe quick (changed), ")
    assert [row.split()[1] for row in rows[:4]] == sorted(students.split(",") * 2)
    assert rows[4].startswith("Plain copies: within the host ")
    one = next(r for r in found if r["cell"]["method"] == "lpqld[k=4]")
    assert one["options"]["k"] == 4
    assert (one["batch"], one["seconds_fit"] > 0, one["compiled"]) == (20, True, False)
    assert one["labels"]["stored"] > 0
    assert one["evaluation"]["size"] == 364  # every test image
    assert not (tmp_path / "records").exists()  # no student was trained
    assert {path.name.split("-")[0] for path in (tmp_path / "stages").iterdir()} >= {"labels"}


def test_profiling_again_makes_nothing_and_takes_the_records_place(tmp_path, monkeypatch):
    assert profiled(tmp_path, "--methods", "hard")[0] == 0
    (before,) = found_in(tmp_path)

    def call(*_):
        raise AssertionError("a stage was made")

    monkeypatch.setattr(fitter, "call", call)
    assert profiled(tmp_path, "--methods", "hard")[0] == 0
    (after,) = found_in(tmp_path)
    assert after["cell"] == before["cell"]
    assert after["seconds"] != before["seconds"]


BROKEN = """
from benchmark.methods.hard import Hard


class Broken(Hard):
    def targets(self, views, images, epoch):
        raise ValueError("no targets today")
"""


def test_what_fails_is_named_and_the_others_go_on(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    words = ("--methods", "broken,hard", "--plugin", tmp_path / "broken.py")
    code, out, err = profiled(tmp_path / "work", *words)
    assert code == 2
    assert "\nhard " in out
    said = "error: 1 of 2 failed: broken on random IPC 2, convnet-d2-w8: ValueError: no targets"
    assert said in err
    (found,) = found_in(tmp_path / "work")
    assert found["cell"]["method"] == "hard"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--methods lpqd", "Unknown method 'lpqd'. Did you mean 'lpqld' or 'ld' or 'ladd'?"),
        ("--students resnt18", "Unknown network 'resnt18'"),
        ("--methods lpqld --budget 100", "lpqld cannot meet a budget of 100 bytes"),
        ("--device gpu", "Unknown device 'gpu'"),
    ],
)
def test_bad_input_changes_nothing(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_main("profile", *WORDS, *words.split())
    assert (code, out) == (2, "")
    assert said in err
    assert [*tmp_path.iterdir()] == []


def test_an_interruption_keeps_what_was_measured(tmp_path, monkeypatch):
    measured = profile.profile

    def interrupted(runner, cell, labels):
        if cell.variant.method == "smoothed":
            raise KeyboardInterrupt
        return measured(runner, cell, labels)

    monkeypatch.setattr(profile, "profile", interrupted)
    code, _, err = profiled(tmp_path, "--methods", "hard,smoothed")
    assert code == 130
    assert f"1 records are in {tmp_path / 'profile.jsonl'}" in err
    assert json.loads((tmp_path / "profile.jsonl").read_text())["cell"]["method"] == "hard"
