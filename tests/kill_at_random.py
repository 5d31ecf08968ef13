"""Kill a small run at random moments, again and again, and hold what it leaves to one left alone.

    python tests/kill_at_random.py --kills 100 [--seed 0]

Each round is a grid in a folder of its own, measured and collected: teacher, synthesis in parts,
relabelling in shards, fits, students, tables, collection. Its process is killed (SIGKILL) at a
moment drawn by the seed, then started again, until it ends by itself. Then nothing may be lost,
halved or done twice, and records, artefacts, tables and the collection must be those of a run that
nobody killed; `clean` must leave no half-written file. Processes are forked from one that has
imported all, and fit in themselves, so that kills fall into the work. Prints how many kills fell
into which stage.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmark.__main__ import main as command_line
from benchmark.core.cache import damage
from benchmark.experiment import clean, evaluate, fitter, image_stages, pace
from benchmark.experiment.throughput import Timings
from benchmark.models import training
from benchmark.report import site

GRID = [
    *("run", "--dataset", "digits", "--students", "convnet-d1-w4", "--device", "cpu"),
    *("--teacher", "convnet-d2-w8-bn", "--set", "teacher.epochs=3", "--jobs", "1"),
    *("--images", "sre2l[iterations=30],rded", "--ipc", "2", "--seeds", "1"),
    *("--recipe", "quick", "--set", "recipe.epochs=6", "--methods", "lpqld,vqae"),
    *("--set", "vqae.steps=60", "--work", "work"),
]
COLLECT = ["collect", "work", "--to", "published.jsonl"]
STAGES = {  # by the kind of a stage that is half made; the innermost first
    "teacher": "teacher",
    "relabelled": "relabelling",
    "image-part": "synthesis",
    "images": "synthesis",
    "labels": "fit",
}
MEASURED = ("accuracy", "correct", "train_loss")
PATIENCE = 600.0  # seconds


def quickened() -> None:
    """Let this process, and those forked from it, work in small steps and fit in themselves."""
    timings = Timings(20, [1.0] * 3, [2.0] * 3, [1.0] * 3, None)
    evaluate.measure = lambda *_: timings  # tables are then the same to the byte
    fitter.call = lambda work, *arguments: work(*arguments)
    fitter.start = fitter.stop = lambda: None
    training.CHECKPOINT_EVERY_SECONDS = 0.0
    image_stages.LARGE = 0
    pace.LEAST = 5e-5
    site.write_site = lambda *_, **__: Path("site")  # which takes longer than all else
    os.environ["LABELBENCH_SHARD_BYTES"] = "1000"
    torch.set_num_threads(1)


def begun(folder: Path) -> int:
    """The process of a run and its collection."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for words in (GRID, COLLECT):
            sys.argv = ["labelbench", *words]
            with contextlib.suppress(SystemExit):
                command_line()
        code = 0
    finally:
        os._exit(code)


def at_work_on(folder: Path) -> str:
    """What a run is doing, by what lies in its folder."""
    stages = folder / "work/stages"
    halves = {path.name.rpartition("-")[0] for path in stages.glob("*.partial")}
    for kind, name in STAGES.items():
        if kind in halves:
            return name
    if halves:
        return "test"
    if list((folder / "work/checkpoints").glob("*.pt")):
        return "student"
    if (folder / "work/tables").exists():
        return "collect"
    return "between"


def killed(folder: Path, draw: random.Random, usual: float) -> str | None:
    """Kill a run at a random moment; what it was doing, or None if it had ended before.

    The moment is drawn from all its time, or from the first of one stage's.
    """
    child, started = begun(folder), time.monotonic()
    stage = draw.choice([None, *sorted({*STAGES.values()}), "student", "collect"])
    delay = draw.uniform(0, usual if stage is None else usual / 20)
    until = None if stage else started + delay
    while True:
        if os.waitpid(child, os.WNOHANG)[0]:
            return None
        now = time.monotonic()
        if until is None and at_work_on(folder) == stage:
            until = now + delay
        if until is not None and now >= until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return at_work_on(folder)
        assert now - started < PATIENCE, (folder / "log").read_text()
        time.sleep(0.002)


def left(folder: Path) -> dict[str, Any]:
    """All that a run leaves and that must not depend on how often it was begun.

    Raises:
        AssertionError: something is half there.
    """
    work = folder / "work"
    half = [path.name for path in (work / "stages").rglob("*.partial")]
    assert not half, f"half made: {half}"
    assert not list(work.glob("checkpoints/*.pt")), "a checkpoint is left"
    assert not list(work.glob("failures/*")), "a cell failed"
    stages = sorted(path for path in work.glob("stages/*-*") if path.is_dir())
    wrong = {path.name: damage(path) for path in stages if damage(path)}
    assert not wrong, wrong
    found: dict[str, Any] = {"stages": [path.name for path in stages]}
    for path in sorted(work.glob("stages/labels-*/artefact/*")):
        found[f"{path.parent.parent.name}/{path.name}"] = path.read_bytes()
    for path in sorted(work.glob("records/*.json")):
        found[path.name] = measured(json.loads(path.read_text()))
    for path in sorted(work.glob("tables/[!.]*")):
        found[path.name] = untimed(path)
    lines = (folder / "published.jsonl").read_text().splitlines()
    found["published"] = [measured(json.loads(line)) for line in lines]
    clean.remove(each for each in clean.leftovers(work, unfinished=False) if not each.shared)
    half = [str(path) for path in work.rglob("*.partial")]
    assert not half, f"half written: {half}"
    return found


def untimed(table: Path) -> str:
    """A file of tables without those of times."""
    text = "" if "throughput" in table.name else table.read_text()
    parts = text.split("\n### ")
    return "\n### ".join(part for part in parts if "hroughput" not in part.partition("\n")[0])


def measured(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says, but for the times it took."""
    result = record["result"]
    return {
        "key": record["key"],
        "cell": record["cell"],
        "inputs": record["inputs"],
        "storage": record["storage"],
        "plugins": record["plugins"],
        **{name: result.get(name) for name in MEASURED},
    }


def main(kills: int, seed: int, root: Path) -> Counter[str]:
    """Kill so many times, in as many rounds as it takes; how many kills fell into which stage."""
    quickened()
    draw, counted, rounds = random.Random(seed), Counter[str](), 0
    (root / "alone").mkdir()
    started = time.monotonic()
    os.waitpid(begun(root / "alone"), 0)
    usual = time.monotonic() - started
    expected = left(root / "alone")
    assert len(expected["published"]) == 14, (root / "alone/log").read_text()
    print(f"left alone: {usual:.1f} s, {len(expected['stages'])} stages", flush=True)
    while counted.total() < kills:
        rounds += 1
        folder = root / f"round-{rounds}"
        folder.mkdir()
        while counted.total() < kills and (stage := killed(folder, draw, usual)):
            counted[stage] += 1
        os.waitpid(begun(folder), 0)
        found = left(folder)
        differing = sorted(
            name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
        )
        assert not differing, f"{folder}: {differing}"
        told = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
        print(f"round {rounds}: as left alone; {counted.total()} kills ({told})", flush=True)
    return counted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="labelbench-kills-"))
    print(f"in {scratch}, which stays if anything is wrong", flush=True)
    main(asked.kills, asked.seed, scratch)
    shutil.rmtree(scratch)
