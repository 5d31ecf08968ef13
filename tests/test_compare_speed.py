"""Two commits of a small repository, compared by the script that compares this one's."""

import subprocess
from pathlib import Path
from typing import Any

import compare_speed
import pytest

from benchmark.records import measurements

SOURCE = """
import sys
import time

def work():
    time.sleep(0 if "--at once" in sys.argv else {seconds})

if __name__ == "__main__":
    work()
    open("made-here", "x").close()  # the folder is empty every time
"""
BENCHMARKS = """
import benchmark as package
from benchmark import work
from benchmark.methods import name

def test_working(benchmark):
    benchmark.pedantic(work, rounds=2)

def test_nothing(benchmark):
    benchmark.pedantic(lambda: name, rounds=1)

def test_anew(benchmark):
    benchmark.pedantic(lambda: package.anew, rounds=1)
"""


def git(root: Path, *words: str) -> str:
    named = ["-c", "user.name=A", "-c", "user.email=a@b.example"]
    done = subprocess.run(
        ["git", *named, *words], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    """Of two commits, the second of which takes a fifth of the first one's time."""
    root = tmp_path / "repository"
    for folder in ("benchmark", "methods", "datasets", "tests"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "labelbench"\nversion = "7.8"\n')
    (root / "methods" / "__init__.py").write_text("name = 'linked'\n")
    (root / "datasets" / "__init__.py").touch()
    (root / "tests" / "test_speed.py").write_text(BENCHMARKS)
    git(root, "init", "-q")
    for seconds, more in ((0.25, ""), (0.05, "anew = True\n")):
        source = SOURCE.format(seconds=seconds) + more
        (root / "benchmark" / "__init__.py").write_text(source)
        (root / "benchmark" / "__main__.py").write_text(source)
        git(root, "add", "-A")
        git(root, "commit", "-qm", f"{seconds}")
    return root


def compared(root: Path, to: Path, *words: str, before: str = "HEAD~1") -> int:
    return compare_speed.main([before, "HEAD", "--to", str(to), *words], root)


def ratio(root: Path, to: Path, *words: str, before: str = "HEAD~1") -> Any:
    """The one ratio that a comparison measures, of `rounds` repeats of each side."""
    assert compared(root, to, *words, before=before) == 0
    (found,) = measurements.read([to])
    assert found["kind"] == "ratio"
    rounds = int(words[words.index("--rounds") + 1])
    assert [len(found[side]["seconds"]) for side in ("first", "second")] == [rounds, rounds]
    return found


def saved_seconds(found: Any) -> float:
    """By how much the commit after was sooner done."""
    return min(found["second"]["seconds"]) - min(found["first"]["seconds"])


def test_micro_benchmarks_take_turns_on_two_commits(repository, tmp_path, capsys):
    found = ratio(repository, tmp_path / "profile.jsonl", "--rounds", "2", "-k", "working")
    assert found["name"] == "test_working"
    commits = [git(repository, "rev-parse", name)[:12] for name in ("HEAD", "HEAD~1")]
    assert [found[side]["environment"] for side in ("first", "second")] == [
        {"labelbench": "7.8", "commit": commit} for commit in commits
    ]
    assert 0.15 < min(found["first"]["seconds"]) / min(found["second"]["seconds"]) < 0.5
    assert "test_working" in capsys.readouterr().out
    assert git(repository, "worktree", "list").count("\n") == 0  # they are gone


def test_whole_commands_run_in_empty_folders(repository, tmp_path):
    words = ("--rounds", "2", "--name", "a grid", "--", "run", "--device", "cpu")
    found = ratio(repository, tmp_path / "speed.jsonl", *words)
    assert found["name"] == "a grid"
    assert found["settings"] == {"threads": "1", "command": "run --device cpu"}
    assert saved_seconds(found) > 0.1


def test_two_settings_of_a_command_are_compared_on_one_commit(repository, tmp_path):
    words = ("--rounds", "1", "--after-words", "'--at once'", "--", "run", "--device", "cpu")
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    found = ratio(repository, tmp_path / "speed.jsonl", *words, before="HEAD")
    assert found["settings"]["after"] == "'--at once'"
    assert "before" not in found["settings"]
    assert saved_seconds(found) > 0.1


def test_two_micro_benchmarks_of_a_commit_are_set_side_by_side(repository, tmp_path, capsys):
    to, words = tmp_path / "speed.jsonl", ("--rounds", "2", "--against", "test_working")
    found = ratio(repository, to, *words, "-k", "test_nothing")
    assert found["name"] == "test_nothing against test_working"
    assert (found["settings"]["before"], found["settings"]["after"]) == (
        "test_working",
        "test_nothing",
    )
    assert found["first"]["environment"] == found["second"]["environment"]
    assert saved_seconds(found) > 0.04
    assert compared(repository, to, *words, "-k", "test_some") == 2
    assert "'test_some' is no micro-benchmark here. Valid: test_working." in capsys.readouterr().err
    assert compared(repository, to, *words) == 2


def test_what_runs_on_one_commit_alone_is_left_out(repository, tmp_path, capsys):
    to = tmp_path / "profile.jsonl"
    found = ratio(repository, to, "--rounds", "1", "-k", "nothing or anew")
    assert found["name"] == "test_nothing"
    assert "left out, as it runs on one of them alone: test_anew" in capsys.readouterr().err
    assert compared(repository, to, "--rounds", "1", "-k", "anew") == 2
    assert "error: No micro-benchmark runs on both commits." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "HEAD"], "git rev-parse says: "),
        (["HEAD", "HEAD", "--rounds", "0"], "--rounds is 0; at least 1 is valid."),
        (["HEAD", "HEAD", "--to", "x.json"], "takes a profile.jsonl or speed.jsonl, not 'x.json'"),
        (["HEAD", "HEAD", "-k", "nonsense"], "ended with code 5"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(repository, words, said, capsys, monkeypatch):
    monkeypatch.chdir(repository.parent)
    assert compare_speed.main(words, repository) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert git(repository, "worktree", "list").count("\n") == 0
