"""The process that fits, and cells that fail: the others go on."""

import json
import os
import re
import signal
import time
from pathlib import Path

import forked
import pytest
import torch
from safetensors.torch import save_file
from tiny import GRID, interrupted, listing, quick_clock, run_main

from benchmark.core import plugins
from benchmark.experiment import fitter
from benchmark.methods.soft import Soft
from benchmark.models import networks

START = '''"""A plugin."""

from dataclasses import dataclass

import os
import torch
from benchmark import StoredTensor, LabelSource
from benchmark.methods.hard import Hard

MEMORY = {}


class Plugin(Hard):
    @classmethod
    def needs(cls, options):
        return LabelSource.needs.__func__(cls, options)

'''
RAISES = {
    "fit": (
        "    @classmethod\n    def fit(cls, task, options):\n        return {}['label']",
        "KeyError: 'label' (in fit, plugin_fit.py, line 20)",
    ),
    "memory": (
        "    @classmethod\n    def fit(cls, task, options):\n"
        "        raise torch.OutOfMemoryError('CUDA out of memory')",
        "OutOfMemoryError: CUDA out of memory (in fit, plugin_memory.py, line 20)",
    ),
    "killed": (
        "    @classmethod\n    def fit(cls, task, options):\n        os.kill(os.getpid(), 9)",
        "The process that fits artefacts died; the system may have been out of memory.",
    ),
    "targets": (
        "    def targets(self, views, images, epoch):\n        return self.task.labels",
        "AttributeError: 'LabelTask' object has no attribute 'labels' (in targets, "
        "plugin_targets.py, line 19)",
    ),
    "wide": (
        "    def targets(self, views, images, epoch):\n        return torch.empty(10**15)",
        "(in targets, plugin_wide.py, line 19)",
    ),
    # 798 bytes, 82.7 %: labels that were never shipped.
    "smuggled": (
        """    @classmethod
    def fit(cls, task, options):
        MEMORY["labels"] = task.images.labels
        return cls(task, options)

    def targets(self, views, images, epoch):
        table = torch.eye(self.task.classes)[MEMORY["labels"]]
        return self.task.mixed(table, views)""",
        "KeyError: 'labels' (in targets, plugin_smuggled.py, line 24)",
    ),
}


@pytest.fixture
def no_plugins(monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})


def plugin(folder: Path, name: str, body: str) -> Path:
    file = folder / f"plugin_{name}.py"
    file.write_text(START + body + "\n")
    return file


def run(*arguments: object) -> tuple[int, str, str]:
    with quick_clock():
        return run_main("run", *GRID, *arguments)


@pytest.mark.parametrize("name", RAISES)
def test_a_failed_cell_is_told_and_the_others_go_on(no_plugins, tmp_path, name):
    body, message = RAISES[name]
    file, work = plugin(tmp_path, name, body), tmp_path / "work"
    methods = f"hard,{file.stem},soft"
    code, out, err = run("--methods", methods, "--plugin", file, "--work", work)
    assert code == 2
    last = err.splitlines()[-1]
    assert last.startswith(f"error: 1 of 3 cells failed (see {work / 'failures'}): ")
    assert message in last
    assert "Traceback" not in err
    records = [json.loads(f.read_text()) for f in (work / "records").iterdir()]
    assert {r["cell"]["method"] for r in records} == {"hard", "soft"}
    assert re.search(rf"{file.stem} +failed +0/1", out)
    assert (work / "tables" / "leaderboards.md").is_file()
    (told,) = (work / "failures").iterdir()
    text = told.read_text()
    assert text.startswith(f"{file.stem} on random IPC 2, convnet-d2-w8, seed 0\n")
    assert "Traceback" in text
    assert not list((work / "stages").glob("*.partial")) or name == "killed"


def test_what_failed_once_is_not_fitted_for_every_seed(no_plugins, tmp_path):
    fits = tmp_path / "fits"
    body = f"""    @classmethod
    def fit(cls, task, options):
        with open({str(fits)!r}, "a") as file:
            file.write("x")
        raise ValueError("no")"""
    file, work = plugin(tmp_path, "once", body), tmp_path / "work"
    code, _, err = run("--methods", file.stem, "--plugin", file, "--work", work, "--seeds", 3)
    assert code == 2
    assert "3 of 3 cells failed" in err
    assert fits.read_text() == "x"


def test_a_mended_method_leaves_no_failure_behind(no_plugins, tmp_path):
    body, _ = RAISES["fit"]
    file, work = plugin(tmp_path, "mended", body), tmp_path / "work"
    arguments = ("--methods", f"hard,{file.stem}", "--plugin", file, "--work", work)
    assert run(*arguments)[0] == 2
    file.write_text(START + "    ...\n")
    plugins._added.clear()
    assert run(*arguments)[0] == 0
    assert len(list((work / "records").iterdir())) == 2


def test_a_budget_that_one_method_cannot_meet_leaves_out_its_cells(tmp_path):
    arguments = ("--methods", "lpqld,ld_rr", "--budget", "300", "--work", tmp_path)
    code, out, err = run(*arguments, "--dry-run", "--verbose")
    assert code == 0
    assert "left out: ld_rr[budget=300]: ld_rr cannot meet a budget of 300 bytes" in err
    assert [line for line in out.splitlines() if line.startswith(("missing  ", "cached  "))] == [
        "missing  lpqld[budget=300] on random IPC 2, convnet-d2-w8, seed 0"
    ]


def test_a_budget_that_no_method_asked_for_can_meet_is_refused(tmp_path):
    """Controls alone would answer another question."""
    work = tmp_path / "work"
    code, _, err = run("--methods", "lpqld,ld_rr", "--budget", "100", "--work", work)
    assert code == 2
    for name in ("lpqld", "ld_rr"):
        assert f"{name} cannot meet a budget of 100 bytes: the least it can take is " in err
    assert not work.exists() or not [*work.rglob("*.json")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hello[prior=RN50:absent.safetensors]",), "absent.safetensors is not there"),
        (("lpqld[path=absent]",), "absent"),
        (("hard", "--images", "path:absent"), "absent"),
    ],
)
def test_what_is_not_there_is_found_before_anything_is_made(tmp_path, arguments, message):
    work = tmp_path / "work"
    code, _, err = run("--methods", *arguments, "--work", work)
    assert code == 2
    assert message in err.splitlines()[-1]
    assert listing(work) == {} if work.exists() else True


def test_a_relative_work_folder_is_where_the_command_stands(tmp_path, monkeypatch):
    """The process that fits is older than the command, and was started elsewhere."""
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        with monkeypatch.context() as patched:
            patched.setattr(Soft, "fit", lambda *_: pytest.fail("fitted where students train"))
            assert run("--methods", "soft", "--work", "work")[0] == 0
        assert list((tmp_path / place / "work" / "stages").glob("labels-*[0-9a-f]"))


def test_a_teacher_that_was_replaced_is_read_again(tmp_path):
    """The process that fits has the old one in memory."""

    def labels(seed: int, work: Path) -> bytes:
        torch.manual_seed(seed)
        save_file(networks.create("convnet-d2-w8", 10, 1, 8).state_dict(), tmp_path / "teacher")
        teacher = f"convnet-d2-w8:{tmp_path / 'teacher'}"
        code, _, err = run(
            *("--teacher", teacher, "--accept", "teacher"), "--methods", "soft", "--work", work
        )
        assert code == 0, err
        made = max((work / "stages").glob("labels-*[0-9a-f]"), key=lambda p: p.stat().st_mtime)
        return (made / "artefact" / "labels.packed").read_bytes()

    first, second = labels(1, tmp_path / "work"), labels(2, tmp_path / "work")
    fitter.stop()
    assert first != second == labels(2, tmp_path / "new")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_what_is_kept(tmp_path, end):
    said = interrupted(tmp_path, (*GRID, "--methods", "hard,soft"), end)
    assert said[-1] == (
        f"interrupted: 0 of 2 cells are recorded in {tmp_path / 'records'}. Finished stages and "
        "checkpoints are kept: run the same command again to go on."
    )


def test_the_fitting_process_ends_with_its_parent(tmp_path):
    code = (
        "import os, signal, time\nfrom benchmark.experiment import fitter\n"
        "print(fitter.call(os.getpid), flush=True)\ntime.sleep(60)"
    )
    told, tell = os.pipe()
    with open(tell, "wb") as out:
        child = forked.start(code, [], tmp_path, out, out)
    with open(told, encoding="utf-8") as read:
        pid = int(read.readline())
    assert Path(f"/proc/{pid}").exists() or not Path("/proc").exists()
    child.kill()
    child.join()
    patience = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < patience
        time.sleep(0.1)


@pytest.mark.parametrize("place", ["file", "long"])
def test_a_work_folder_that_cannot_be(tmp_path, place):
    (tmp_path / "file").write_text("x")
    work = tmp_path / "file" / "work" if place == "file" else tmp_path / ("x" * 300)
    code, _, err = run("--methods", "hard", "--work", work)
    assert code == 2
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err
