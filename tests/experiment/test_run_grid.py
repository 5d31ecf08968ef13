import json
import math
import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import forked
import pandas as pd
import pytest
import torch
from tiny import GRID, listing, quick_clock, run_main, run_tiny

from benchmark import open_labels
from benchmark.core import plugins
from benchmark.core.errors import UserError
from benchmark.data import distilled
from benchmark.data.picture_bytes import picture_bytes
from benchmark.experiment.stages import Experiment
from benchmark.labels.student import Student
from benchmark.models.training import Optimisation

METHODS = ("--methods", "hard,soft,lpqld")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A work folder in which the tiny grid was run to its end."""
    folder = tmp_path_factory.mktemp("finished")
    run_tiny(folder, *METHODS)
    return folder


@pytest.fixture
def work(finished, tmp_path) -> Path:
    """A copy of the finished work folder."""
    return shutil.copytree(finished, tmp_path / "work")


def records(work: Path) -> dict[str, dict]:
    """All records by method and seed."""
    found = [json.loads(file.read_text()) for file in (work / "records").glob("*.json")]
    return {f"{r['cell']['method']} {r['cell']['seed']}": r for r in found}


def path_of(work: Path, record: Any) -> Path:
    (found,) = (work / "records").glob(f"{record['key']}-*.json")
    return found


def tables(work: Path, kind: str) -> list[str]:
    """The published tables of one kind; throughput is never twice the same."""
    return [file.read_text() for file in sorted((work / "tables").glob(f"*-{kind}.csv"))]


def kept(work: Path) -> dict:
    """What a second run must leave alone."""
    return {name: listing(work / name) for name in ("stages", "records")}


def test_records_tell_the_whole_story(finished):
    found = records(finished)
    assert found.keys() == {"hard 0", "soft 0", "lpqld 0"}
    for record in found.values():
        result, stage = record["result"], finished / "stages" / record["inputs"]["labels"]
        files = [file for file in (stage / "artefact").iterdir() if file.is_file()]
        assert record["storage"]["total"] == sum(file.stat().st_size for file in files)
        png, jpeg = (record["storage"][f"images_{form}"] for form in ("png", "jpeg"))
        shown = distilled.read(
            finished / "stages" / record["inputs"]["images_stage"], torch.device("cpu")
        )
        assert {"png": png, "jpeg": jpeg} == picture_bytes(shown)
        assert record["recipe"]["epochs"] == len(result["train_loss"]) == 2
        assert not record["on_protocol"]
        assert result["test_images"] == 364
        assert 0 <= result["accuracy"] <= 1
        assert record["world"]["libraries"]["torch"] == version("torch")
        assert record["inputs"]["set"] == {"recipe.epochs": "2", "teacher.epochs": "1"}
    assert len({r["inputs"]["images"] for r in found.values()}) == 1
    assert len({r["inputs"]["teacher"] for r in found.values()}) == 1
    assert found["lpqld 0"]["options"]["k"] == 2


def test_the_tables_are_printed_and_written(finished):
    out = run_tiny(finished, *METHODS)
    assert re.findall(r"^(\w+) \| digits, IPC 2", out, re.MULTILINE) == [
        "ACCURACY",
        "FRONTIER",
        "STORAGE",
        "IMAGES",
        "THROUGHPUT",
    ]
    for kind in ("accuracy", "storage", "throughput"):
        (file,) = (finished / "tables").glob(f"*-{kind}.csv")
        assert sorted(pd.read_csv(file)["method"]) == ["hard", "lpqld", "soft"]
    written = finished / "tables"
    assert (written / "leaderboards.md").read_text(encoding="utf-8").count("### ") == 5
    assert {path.suffix for path in written.iterdir()} == {".md", ".json", ".csv", ".tex"}


def test_a_run_ends_with_the_sites_index(finished):
    with quick_clock():
        _, _, err = run_main("run", *GRID, "--work", finished, *METHODS)
    index = finished / "site" / "index.html"
    assert index.is_file()
    assert err.splitlines()[-1] == f"site: {index}"


def test_the_records_of_a_run_pass_the_check(finished):
    code, out, _ = run_main("verify", finished)
    assert out.splitlines()[-1] == "3 records: complete"
    assert code == 0


def test_a_second_run_trains_nothing(work, monkeypatch):
    before = kept(work)
    monkeypatch.setattr(Optimisation, "build", lambda *_: pytest.fail("something was trained"))
    run_tiny(work, *METHODS)
    assert kept(work) == before


def test_more_seeds_add_students_and_leave_the_rest(work):
    before = kept(work)
    run_tiny(work, *METHODS, "--seeds", 2)
    after = kept(work)
    assert before["records"].items() <= after["records"].items()
    assert after["stages"] == before["stages"]
    found = records(work)
    assert len(found) == 6
    assert found["soft 0"]["result"]["correct"] != found["soft 1"]["result"]["correct"]


def test_forced_records_are_measured_anew_from_kept_artefacts(work):
    before, accuracy = kept(work), tables(work, "accuracy")
    run_tiny(work, *METHODS, "--force")
    after = kept(work)
    assert after["stages"] == before["stages"]
    assert after["records"].keys() == before["records"].keys()
    assert not after["records"].items() & before["records"].items()
    assert tables(work, "accuracy") == accuracy


def test_a_dry_run_says_what_is_missing_and_writes_nothing(work, tmp_path):
    before = listing(work)
    out = run_tiny(work, "--methods", "hard,smoothed", "--dry-run", "--verbose")
    assert out.splitlines()[-2:] == [
        "cached   hard on random IPC 2, convnet-d2-w8, seed 0",
        "missing  smoothed on random IPC 2, convnet-d2-w8, seed 0",
    ]
    planned = json.loads(run_tiny(work, "--methods", "hard,smoothed", "--dry-run", "--json"))
    assert [[p["stage"], p["of"], p["there"], p["missing"]] for p in planned["plan"]] == [
        ["teacher", "convnet-d2-w8", 1, 0],
        ["images", "random IPC 2", 1, 0],
        ["labels", "hard", 1, 0],
        ["labels", "smoothed", 0, 1],
        ["students", "hard", 1, 0],
        ["students", "smoothed", 0, 1],
    ]
    assert planned["plan"][5]["seconds"] > 0
    assert "students  smoothed" in out
    assert listing(work) == before
    run_tiny(tmp_path / "new", "--dry-run")
    assert not (tmp_path / "new").exists()


def test_a_run_interrupted_before_it_began_speaks_of_no_cells(work, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "resolve", interrupted)
    code, _, err = run_main("run", *GRID, "--work", work, *METHODS)
    assert code == 130
    assert err.splitlines()[-1] == "interrupted: nothing was begun yet."


# It counted as cached and was left out of the tables: for ever, with exit code 0.
def test_an_option_of_what_the_grid_lacks_is_told(work):
    words = ("--set", "hello.rank=2", "--set", "random.draw=1", "--set", "teacher.epochs=1")
    code, _, told = run_main("run", *GRID, "--work", work, *METHODS, *words, "--dry-run")
    assert code == 0
    assert told.splitlines().count("set for nothing in this grid: hello.rank") == 1
    code, _, told = run_main("run", "--methods", "lpqld", "--work", work, "--dry-run")
    assert code == 0
    assert "for nothing" not in told  # the shipped grid sets HeLlO's epochs, not its user


@pytest.mark.parametrize("damage", ["truncated", "contradictory", "another's"])
def test_a_damaged_record_is_measured_again_with_one_line(finished, work, damage):
    before = records(finished)
    file, other = path_of(work, before["hard 0"]), path_of(work, before["soft 0"])
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:500])
    elif damage == "contradictory":
        edited = json.loads(file.read_text())
        edited["result"]["accuracy"] = 0.9999
        file.write_text(json.dumps(edited))
    else:
        shutil.copyfile(other, file)
    code, _, told = run_main("run", *GRID, "--work", work, *METHODS)
    assert code == 0
    assert "3 cells: 2 cached, 1 to run" in told
    assert told.count(f"{file.name} is damaged (") == 1
    assert "left out" not in told
    after = records(work)
    assert after.keys() == before.keys()
    assert after["hard 0"]["result"]["accuracy"] == before["hard 0"]["result"]["accuracy"]


def test_shards_are_the_whole(finished, tmp_path):
    for number in range(2):
        run_tiny(tmp_path / "work", *METHODS, "--shard", f"{number}/2")
    assert listing(tmp_path / "work" / "records").keys() == listing(finished / "records").keys()
    run_tiny(tmp_path / "work", *METHODS)
    assert tables(tmp_path / "work", "accuracy") == tables(finished, "accuracy")


def spoil(file: Path, damage: str) -> None:
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[:-1] + (b"" if damage == "truncated" else bytes([whole[-1] ^ 4])))


# A sign bit flipped in the teacher's weights was trained from, and published.
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
@pytest.mark.parametrize(
    "file",
    [
        "labels-*/artefact/labels.packed",
        "labels-*/fit.json",
        "teacher-accuracy-*/accuracy.json",
        "teacher-*/teacher.safetensors",
        "similarity-*/similarity.json",
        "images-*/images.safetensors",
        "images-*/seal.json",
    ],
)
def test_a_damaged_stage_is_made_again_with_one_line(finished, work, file, damage):
    before = records(finished)
    (damaged, *_) = sorted((work / "stages").glob(file))
    spoil(damaged, damage)
    if "teacher.safetensors" in file:  # nothing else asks for the teacher
        shutil.rmtree(next((work / "stages").glob("teacher-accuracy-*[0-9a-f]")))
    for record in before.values():
        path_of(work, record).unlink()
    run_tiny(work, *METHODS)
    after = records(work)
    assert {name: r["result"]["correct"] for name, r in after.items()} == {
        name: r["result"]["correct"] for name, r in before.items()
    }
    assert (work / "stages").joinpath(damaged.relative_to(work / "stages")).is_file()
    assert not list((work / "stages").glob("*.damaged"))


PLUGIN = '''"""All classes alike but the image's own."""

from dataclasses import dataclass

import torch
from benchmark import StoredTensor, LabelSource


class Half(LabelSource):
    @dataclass(frozen=True)
    class Options:
        own: float = 0.5

    def __init__(self, task, options, table):
        super().__init__(task, options)
        self.table = table

    @classmethod
    def fit(cls, task, options):
        labels = task.images.labels
        table = torch.full((len(labels), task.classes), (1 - options.own) / (task.classes - 1))
        table[torch.arange(len(labels)), labels] = options.own
        return cls(task, options, table)

    def tensors(self):
        yield StoredTensor("table", "values", self.table)

    @classmethod
    def restore(cls, task, options, shipped):
        return cls(task, options, shipped.tensors["table"].to(task.device))

    def targets(self, views, images, epoch):
        return self.task.mixed(self.table, views)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(plugins, "_added", {})
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "half_own.py"
    file.write_text(PLUGIN)
    return file


def test_a_method_from_outside_runs_end_to_end(plugin, work, tmp_path, monkeypatch):
    code, out, _ = run_main("check", "half_own", "--plugin", plugin)
    assert code == 0, out
    out = run_tiny(work, "--methods", "hard,half_own[own=0.8]", "--plugin", plugin)
    assert len(re.findall(r"^(?:- +)?random +half_own\[own=0\.8\] ", out, re.MULTILINE)) == 4
    record = records(work)["half_own[own=0.8] 0"]
    assert record["options"] == {"own": 0.8}
    assert record["storage"]["values"] == 20 * 10 * 4

    file = path_of(work, record)
    assert run_main("ship", file, tmp_path / "given", "--work", work)[0] == 0
    monkeypatch.setattr(plugins, "_added", {})  # as in a process of its own
    folders = tmp_path / "given" / "labels", tmp_path / "given" / "images"
    told = r"'half_own'.* pass its file, which is called half_own\.py: open_labels\(\.\.\., plugin"
    with pytest.raises(UserError, match=told):
        open_labels(*folders, device="cpu")
    code, _, err = run_main("labels", "verify", tmp_path / "given")
    assert code == 2
    assert "--plugin PATH" in err
    given = open_labels(*folders, device="cpu", plugin=plugin)
    _, targets = next(iter(given.epoch(0)))
    assert given.probabilities(targets).shape == (20, 10)
    monkeypatch.setattr(plugins, "_added", {})
    assert run_main("labels", "verify", tmp_path / "given", "--plugin", plugin)[0] == 0


def test_a_changed_plugin_is_measured_anew(plugin, work):
    def run(code):
        plugin.write_text(code)
        run_tiny(work, "--methods", "half_own", "--plugin", plugin)
        return len(list((work / "records").iterdir()))

    assert run(PLUGIN) == 4
    assert run(PLUGIN.replace("All classes", "# All\nAll classes")) == 4
    assert (
        run(PLUGIN.replace("return self.task.mixed", "epoch += 1\n        return self.task.mixed"))
        == 5
    )


# Runs once to have everything imported, then forks a child for each run: a start costs nothing.
TRIALS = """
import os, random, signal, sys, time
import torch
from benchmark.experiment import fitter, run_cell, throughput
from benchmark.models import training
from benchmark.__main__ import main

torch.set_num_threads(1)  # a fork keeps no other threads
training.CHECKPOINT_EVERY_SECONDS = -1
throughput.LEAST_SECONDS = 5e-5
grid = sys.argv[1:]

def run(work):
    sys.argv = ["labelbench", "run", *grid, "--work", work]
    main()

def start(work):
    child = os.fork()
    if not child:
        try:
            run(work)
        except SystemExit as stop:
            os._exit(stop.code or 0)  # at once: taking torch down takes longer than the run
    return child

def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

# A fork fits in itself: starting a process to fit in would take longer than the run.
fitter.call = lambda work, *arguments: work(*arguments)
fitter.start = lambda: None
try:
    run("warm")
except SystemExit as stop:
    assert not stop.code

started = time.monotonic()
assert status(start("undisturbed")) == 0
seconds = time.monotonic() - started
chance = random.Random(1)
for _ in range(int(os.environ.get("LABELBENCH_KILLS", "6"))):
    child = start("killed")
    time.sleep(seconds * chance.uniform(0.05, 0.6))
    os.kill(child, signal.SIGKILL)
    with open("kills", "a") as file:
        print(status(child), file=file)
assert status(start("killed")) == 0

write = run_cell.store.write

def logged(folder, record):
    with open("written", "a") as file:
        print(record["cell"]["method"], file=file)
    return write(folder, record)

run_cell.store.write = logged
children = [start("shared"), start("shared")]
assert [status(child) for child in children] == [0, 0]
"""


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Path:
    """Work folders of a run left alone, one killed now and then, and two at once in one."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folder = tmp_path_factory.mktemp("validation")
    done = forked.run(TRIALS, [*GRID, *METHODS, "--set", "recipe.epochs=20"], folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_kills_at_any_moment_change_no_table(trials):
    assert (trials / "kills").read_text().split().count("-9") >= 3
    killed, undisturbed = trials / "killed", trials / "undisturbed"
    for kind in ("accuracy", "storage"):
        assert tables(killed, kind) == tables(undisturbed, kind)
    once, again = records(undisturbed), records(killed)
    assert once.keys() == again.keys() == {"hard 0", "soft 0", "lpqld 0"}
    for name, record in once.items():
        assert again[name]["result"]["correct"] == record["result"]["correct"]
        assert again[name]["result"]["train_loss"] == record["result"]["train_loss"]
    assert not list((killed / "stages").glob("*.partial"))
    assert not list((killed / "checkpoints").glob("*.pt"))


def test_two_runs_at_once_measure_each_cell_once(trials):
    assert sorted((trials / "written").read_text().split()) == ["hard", "lpqld", "soft"]
    for kind in ("accuracy", "storage"):
        assert tables(trials / "shared", kind) == tables(trials / "undisturbed", kind)
    assert records(trials / "shared").keys() == {"hard 0", "soft 0", "lpqld 0"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of eight MiB, as the site's charts take five."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# KiB of room; it runs out while writing the teacher, the images, the labels, a checkpoint.
@pytest.mark.parametrize("room", [0, 24, 72, 120, 180])
def test_a_full_disk(small_disk, monkeypatch, room):
    monkeypatch.setattr("benchmark.models.training.CHECKPOINT_EVERY_SECONDS", -1)
    work = small_disk / "work"
    options = ["--methods", "soft", "--ipc", 20, "--set", "recipe.epochs=20"]
    (small_disk / "filler").write_bytes(bytes((8 * 1024 - room) * 1024))
    with quick_clock():
        code, _, err = run_main("run", *GRID, *options, "--work", work)
    assert code == 2
    assert err.splitlines()[-1].startswith("error: The disk is full (")
    assert "Traceback" not in err
    assert [path for path in work.rglob("*") if "partial" in path.name] == []
    # With more room the same command goes on.
    (small_disk / "filler").unlink()
    run_tiny(work, *options)
    assert len(records(work)) == 1


def test_a_record_says_in_how_many_parts_a_batch_was_seen(finished, tmp_path, monkeypatch, capsys):
    """Where memory holds three views at once; throughput is of such steps too."""
    of_student = Student.normalised

    def held(self, pixels):
        if self.training and len(pixels) > 3:
            raise torch.OutOfMemoryError(f"{len(pixels)} views")
        return of_student(self, pixels)

    monkeypatch.setattr(Student, "normalised", held)
    run_tiny(tmp_path / "narrow", "--methods", "soft")
    found, expected = records(tmp_path / "narrow")["soft 0"], records(finished)["soft 0"]
    batch = expected["throughput"]["batch"]
    assert found["result"]["micro_batches"] == 2 ** math.ceil(math.log2(batch / 3))
    assert "micro_batches" not in expected["result"]
    assert found["key"] == expected["key"]
    assert found["result"]["correct"] == expected["result"]["correct"]
    assert found["result"]["train_loss"] == pytest.approx(
        expected["result"]["train_loss"], abs=1e-5
    )
