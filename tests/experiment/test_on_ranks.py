"""Runs under `torchrun`, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import WORDS, run_main, run_tiny

from benchmark.core import ranks
from benchmark.core.errors import UserError
from benchmark.data.recipe import Recipe
from benchmark.data.views import Augmentation, ViewPlan
from benchmark.experiment import on_ranks

MORTAL = '''"""Labels over which the second process dies."""
import os

from benchmark.methods.hard import Hard


class Mortal(Hard):
    """The images' own classes, as long as they last."""

    def targets(self, views, images, epoch):
        if os.environ.get("RANK") == "1" and epoch == 1:
            os._exit(9)
        return super().targets(views, images, epoch)
'''


def torchrun(work: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """A tiny run by two processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = ["-m", "benchmark", "run", *WORDS, "--work", work, *arguments]
    return subprocess.run(
        [*start, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def records(work: Path) -> dict[str, dict]:
    found = (json.loads(file.read_text()) for file in (work / "records").glob("*.json"))
    return {f"{r['cell']['method']} {r['cell']['seed']}": r for r in found}


def test_two_processes_record_what_one_does(tmp_path):
    """Two students on one stream, and one of labels that are drawn by its seed."""
    words = ["--methods", "hard,lpqld", "--seeds", "2"]
    made = torchrun(tmp_path / "two", *words)
    assert made.returncode == 0, made.stderr
    run_tiny(tmp_path / "one", *words)
    two, one = records(tmp_path / "two"), records(tmp_path / "one")
    assert len(two) == 4
    for name, record in one.items():
        other = two[name]
        assert other["key"] == record["key"]
        assert other["result"]["correct"] == record["result"]["correct"]
        assert other["result"]["train_loss"] == pytest.approx(
            record["result"]["train_loss"], abs=1e-5
        )
        assert other["result"]["joint"] == {"processes": 2, "batch_norm": "none"}
        assert "joint" not in record["result"]
        assert other["throughput"]["devices"] == 2
        assert "devices" not in record["throughput"]
    told = [list((tmp_path / of).glob("stages/teacher-*/teacher.json")) for of in ("one", "two")]
    alone, together = (json.loads(file.read_text()) for (file,) in told)
    assert together["accuracy"] == alone["accuracy"]
    assert together["train_loss"] == pytest.approx(alone["train_loss"], abs=1e-5)
    assert "the teacher is trained by 2 processes" in made.stderr
    assert made.stderr.count("4 cells: 0 cached, 4 to run") == 1  # the first process alone speaks


def test_a_process_that_dies_ends_the_run_with_a_sentence(tmp_path):
    plugin = tmp_path / "mortal.py"
    plugin.write_text(MORTAL)
    made = torchrun(tmp_path / "work", "--plugin", plugin, "--methods", "mortal")
    assert made.returncode == 1
    assert "error: One of the 2 processes of this run ended, or fell out of step" in made.stderr
    assert "run the same command again to go on" in made.stderr
    assert not records(tmp_path / "work")


PILOTED = Recipe("chosen", 4, 8, stop="held-out", schedule="constant")


def cell(recipe: Recipe, images: int = 20) -> SimpleNamespace:
    plan = ViewPlan(0, images, 8, 8, 4, Augmentation())
    labels = SimpleNamespace(recipe=recipe, plan=plan)
    return SimpleNamespace(cell=SimpleNamespace(label="hard, seed 0"), labels=labels)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (cell(Recipe("solved", 4, 8, evaluator="ridge")), "solves for its last layer"),
        (
            cell(Recipe("chosen", 4, 8, stop="held-out", schedule="constant")),
            "chooses its epochs by a pilot",
        ),
        (cell(Recipe("quick", 4, 8), images=9), "its smallest batch has 4 views. Start at most 4"),
    ],
)
def test_what_cannot_be_trained_together_is_refused(monkeypatch, made, told):
    monkeypatch.setattr(ranks, "count", lambda: 5)
    with pytest.raises(UserError, match=f"5 processes cannot train this .*{told}"):
        on_ranks.check([made])


def test_each_process_has_a_device_of_its_own(monkeypatch):
    assert on_ranks.device_here("cpu") == "cpu"
    with pytest.raises(UserError, match="take --device cuda, not cuda:1"):
        on_ranks.device_here("cuda:1")


def test_what_each_process_would_start_by_itself_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(ranks, "launched", lambda: True)
    for words, told in ((["--jobs", "2"], "--jobs 2"), (["--executor", "ray"], "--executor ray")):
        code, _, err = run_main("run", *WORDS, *words, "--work", tmp_path / "work")
        assert code == 2
        assert f"all processes train one student together: leave out {told}." in err
    code, _, err = run_main("profile", *WORDS, "--work", tmp_path / "work")
    assert (code, "Only `run` is for several processes" in err) == (2, True)
    assert not (tmp_path / "work").exists()
