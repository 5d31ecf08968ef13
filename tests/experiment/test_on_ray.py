"""The same cells on Ray; skipped where it is not installed (`labelbench[ray]`)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_server import serving

import benchmark
from benchmark.core import bounded_cache
from benchmark.core.errors import UserError

pytest.importorskip("ray", reason="Ray is not installed: pip install 'labelbench[ray]'")

from ray.cluster_utils import Cluster

from benchmark.experiment.on_ray import LONGEST_TABLE, Room, Row, _room, who_did_what

# It makes timing a student's step quick, wherever it is imported; one of its cells raises, once.
RAISES = '''"""A plugin."""

from pathlib import Path

from benchmark.experiment import throughput
from benchmark.methods.hard import Hard

throughput.LEAST_SECONDS = 5e-5


class Raises(Hard):
    def loss(self, logits, targets, views, epoch):
        raised = Path("raised")
        if self.task.seed == 1 and not raised.exists():
            raised.touch()
            raise KeyError("x")
        return super().loss(logits, targets, views, epoch)
'''
WORDS = [
    *("--dataset", "digits", "--images", "random", "--ipc", "1", "--recipe", "quick"),
    *("--students", "convnet-d1-w4", "--teacher", "convnet-d1-w4", "--no-controls"),
    *("--set", "recipe.epochs=2", "--set", "teacher.epochs=1", "--device", "cpu"),
    *("--methods", "raises,hard,smoothed,soft,gift", "--seeds", "8", "--plugin", "raises.py"),
    *("--share-stream", "off", "--work", "work"),
]
PATIENCE = 400.0  # seconds


# No token is written into the user's home, and workers are not put behind all else.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def settings(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **RAY, **more}


Begun = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begun() -> Iterator[Begun]:
    """Begins runs in processes of their own, in a folder where the plugin lies."""
    children = list[subprocess.Popen[str]]()

    def begin(folder: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
        (folder / "raises.py").write_text(RAISES)
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmark", "run", *WORDS, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=folder,
            env=settings(**more),
            # Whoever runs the tests in the background may have them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        child.wait()
        assert child.stderr is not None
        child.stderr.close()


def ended(child: subprocess.Popen[str], code: int) -> str:
    """What a run said, once it has ended."""
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == code, said
    return said


def records(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "work/records").glob("*.json"))
    return [json.loads(file.read_text()) for file in files]


def measured(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What every cell in a work folder came to."""
    return compared(records(folder))


def compared(made: Iterable[Any]) -> dict[str, tuple[Any, ...]]:
    """What every cell came to, which must not depend on where it was measured."""
    found = {}
    for record in made:
        cell, result = record["cell"], record["result"]
        name = f"{cell['method']} {cell['seed']}"
        assert name not in found  # none double
        kept = [str(result[field]) for field in ("accuracy", "correct", "train_loss")]
        inputs = json.dumps(record["inputs"], sort_keys=True)
        found[name] = (record["key"], *kept, inputs)
    return found


def wait_for(folder: Path, pattern: str, count: int, child: subprocess.Popen[str]) -> None:
    """Until a run has written so many files of these."""
    patience = time.monotonic() + PATIENCE
    while len(list((folder / "work").glob(pattern))) < count:
        assert child.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.05)


@pytest.fixture
def cluster(monkeypatch, tmp_path) -> Iterator[Cluster]:
    """Two machines of one core each, as processes here, each with caches of its own."""
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    room: dict[str, Any] = {"num_cpus": 1, "memory": 8 * 2**30, "object_store_memory": 80 * 2**20}
    made = Cluster()
    for name in ("head", "other"):
        caches = {"XDG_CACHE_HOME": str(tmp_path / name)}
        made.add_node(**room, include_dashboard=False, env_vars=caches)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.long
def test_dead_machines_and_drivers_and_cells_that_raise_change_no_record(cluster, begun, tmp_path):
    expected, folder = tmp_path / "here", tmp_path / "there"
    for each in (expected, folder):
        each.mkdir()
    (expected / "raised").touch()
    alone = begun(expected, "--jobs", "1")
    where = ("--executor", "ray", "--address", cluster.address)
    driver = begun(folder, *where, LABELBENCH_SHARD_BYTES="100")
    wait_for(folder, "failures/*", 1, driver)  # one cell raised
    wait_for(folder, "records/*.json", 12, driver)
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    wait_for(folder, "records/*.json", 24, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert 24 <= len(records(folder)) < 40
    said = ended(begun(folder, *where, LABELBENCH_SHARD_BYTES="100"), 0)
    ended(alone, 0)
    found = measured(folder)
    assert len(found) == 40
    assert found == measured(expected)
    assert not list((folder / "work").glob("failures/*"))
    assert re.search(r"^\d+ tasks on 1 machine, 1 at once$", said, re.MULTILINE)
    # A table of who did what stands at the end.
    assert re.search(r"^machine +stage +of +seconds$", said, re.MULTILINE)
    assert re.search(r"^\S+ [0-9a-f]{6} +students +\w+ on random IPC 1, .*\d$", said, re.MULTILINE)
    assert re.search(
        r"^\[\d+/\d+\] \w+ on random IPC 1, convnet-d1-w4, seed \d: ", said, re.MULTILINE
    )


@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.long
def test_machines_that_share_only_a_url_give_the_records_of_one(monkeypatch, begun, request):
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    monkeypatch.delenv(bounded_cache.FOLDER)  # the driver's would be all machines'
    few = ("--methods", "soft,lpqld,hard", "--seeds", "2", "--ipc", "2")
    with serving() as bucket:  # the machines are told where it is as they start
        cluster, tmp_path = request.getfixturevalue("cluster"), request.getfixturevalue("tmp_path")
        here, there, home = (tmp_path / name for name in ("here", "there", "driver"))
        for folder in (here, there):
            folder.mkdir()
        ended(begun(here, *few, "--jobs", "1"), 0)
        where = ("--executor", "ray", "--address", cluster.address, "--work", f"{bucket}/runs")
        own = {"LABELBENCH_SHARD_BYTES": "100", "XDG_CACHE_HOME": str(home)}
        said = ended(begun(there, *few, *where, **own), 0)
        assert " tasks on 2 machines, 2 at once" in said
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nobody"))
        found = benchmark.results(f"{bucket}/runs").records
        assert compared(found) == measured(here)
        assert len(found) == 6
    # Each machine had a part in it.
    for name in ("head", "other"):
        assert list((tmp_path / name / "labelbench/work").glob("*/stages/*/seal.json"))


@pytest.mark.long
def test_a_run_has_a_cluster_of_its_own_and_goes_on_after_ctrl_c(begun, tmp_path):
    few = ("--methods", "soft,raises", "--seeds", "2", "--executor", "ray")
    first = begun(tmp_path, *few, LABELBENCH_SHARD_BYTES="100")
    wait_for(tmp_path, "stages/images-*[0-9a-f]", 1, first)
    first.send_signal(signal.SIGINT)
    said = ended(first, 130)
    assert re.search(r"^interrupted: \d of 4 cells are recorded in work", said, re.MULTILINE)
    assert "Traceback" not in said
    # A cell that raises is a result, and leaves the others.
    said = ended(begun(tmp_path, *few, LABELBENCH_SHARD_BYTES="100"), 2)
    message = "KeyError: 'x' (in loss, raises.py, line 16)"
    last = f"error: 1 of 4 cells failed (see work/failures): {message}"
    assert said.splitlines()[-1] == last
    assert f"raises on random IPC 1, convnet-d1-w4, seed 1: FAILED: {message}" in said
    assert measured(tmp_path).keys() == {"raises 0", "soft 0", "soft 1"}
    kinds = {path.name.rpartition("-")[0] for path in (tmp_path / "work/stages").iterdir()}
    assert {"teacher", "teacher-accuracy", "images", "image-part", "relabelled", "labels"} <= kinds


def test_a_long_table_is_added_up():
    rows = [Row("a 1", "fit", str(n), 0.5) for n in range(LONGEST_TABLE)]
    assert len(who_did_what(rows)) == 2 + LONGEST_TABLE
    heads, _, *lines = who_did_what([*rows, Row("b 2", "students", "x", 2.0)])
    assert heads.split() == ["machine", "stage", "of", "seconds"]
    assert [line.split() for line in lines] == [
        ["a", "1", "fit", "100", "tasks", "50.0"],
        ["b", "2", "students", "1", "tasks", "2.0"],
    ]
    assert who_did_what([]) == []


def test_tasks_that_no_machine_can_do_are_refused(monkeypatch):
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "memory": 5e9}}] * 2
    nodes += [{"Alive": False, "Resources": {"CPU": 64.0, "memory": 9e9}}]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    assert _room({"CPU": 2, "GPU": 0}) == Room(int(5e9), 4, 2)
    for cpus, gpus, told in ((8, 0, "8 CPU, .* has 4"), (1, 1, "1 GPU")):
        with pytest.raises(UserError, match=f"A task takes {told}"):
            _room({"CPU": cpus, "GPU": gpus})
