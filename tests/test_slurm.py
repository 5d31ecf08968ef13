"""The scripts for Slurm: on a cluster of this machine alone, and as plain processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "examples" / "slurm"
WORDS = [
    *("--dataset", "digits", "--images", "random", "--ipc", "1", "--methods", "gift"),
    *("--students", "convnet-d1-w4", "--teacher", "convnet-d1-w4", "--device", "cpu"),
    *("--recipe", "quick", "--set", "recipe.epochs=1", "--set", "teacher.epochs=1"),
    *("--seeds", "1", "--work", "work"),
]
METHODS = ["gift", "hard", "soft", "teacher", "teacher[weights=int8]"]
DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={place}/munge.socket,cred_expire=5
SlurmctldPort={control}
SlurmdPort={node}
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def settings(**more: str) -> dict[str, str]:
    """An environment where `python` is this one."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **more}


def methods(file: Path) -> list[str]:
    """Those of a collection's records."""
    return sorted(json.loads(line)["cell"]["method"] for line in file.read_text().splitlines())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find a cluster of one machine."""
    search = f"{os.environ['PATH']}:/usr/sbin"
    found = {name: shutil.which(name, path=search) for name in (*DAEMONS, "sbatch")}
    if lacking := [name for name, path in found.items() if path is None]:
        pytest.skip(f"Slurm is not installed: there is no {', '.join(lacking)}")
    if os.geteuid():
        pytest.skip("Slurm's daemons start as root only")
    place = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a short path, for the socket
    place.chmod(0o755)
    (place / "munge.key").write_bytes(os.urandom(1024))
    (place / "munge.key").chmod(0o600)
    for name in ("state", "spool"):
        (place / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    ports = {"control": free_port(), "node": free_port()}
    config = place / "slurm.conf"
    config.write_text(CONFIG.format(place=place, host=host, cpus=os.cpu_count(), **ports))
    given = {**settings(), "SLURM_CONF": str(config)}
    options = {
        "munged": [f"--key-file={place}/munge.key", f"--socket={place}/munge.socket", "--force"],
        "slurmctld": ["-D", "-f", str(config)],
        "slurmd": ["-D", "-f", str(config)],
    }
    options["munged"] += [f"--{n}-file={place}/munge.{n}" for n in ("pid", "log", "seed")]
    options["munged"] += ["--foreground"]
    started = []
    try:
        for name in DAEMONS:
            with (place / f"{name}.out").open("wb") as out:
                command = [str(found[name]), *options[name]]
                started.append(subprocess.Popen(command, stdout=out, stderr=out, env=given))
            time.sleep(1)
        state = "none"
        for _ in range(60):
            command = ["sinfo", "--noheader", "--format=%T"]
            state = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
            if state.stdout.strip() == "idle":
                break
            time.sleep(1)
        else:
            pytest.skip(f"Slurm does not start here: {state}")
        yield given
    finally:
        for daemon in reversed(started):
            daemon.terminate()
            daemon.wait(timeout=60)
        shutil.rmtree(place, ignore_errors=True)


def submitted(folder: Path, given: dict[str, str], *words: str) -> str:
    """The number of a job."""
    command = ["sbatch", "--parsable", *words]
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.long
def test_an_array_measures_a_grid_and_a_job_after_it_collects(slurm, tmp_path):
    grid, collect = str(SCRIPTS / "grid.sbatch"), str(SCRIPTS / "collect.sbatch")
    array = submitted(tmp_path, slurm, "--array=3-4", grid, *WORDS)  # from wherever it counts
    after = f"--dependency=afterany:{array}"
    submitted(tmp_path, slurm, after, collect, "work", "results/grid.jsonl")
    patience = time.monotonic() + 400
    tables = tmp_path / "results" / "grid" / "leaderboards.md"
    while not tables.exists():
        logs = {log.name: log.read_text()[-800:] for log in tmp_path.glob("*.log")}
        assert time.monotonic() < patience, logs
        time.sleep(1)
    assert methods(tmp_path / "results/grid.jsonl") == METHODS
    said = [(tmp_path / f"labelbench-{array}_{task}.log").read_text() for task in (3, 4)]
    counts = sorted(int(text.partition(" cells: ")[0].splitlines()[-1]) for text in said)
    assert counts == [2, 3]
    made = [path for path in (tmp_path / "work/stages").iterdir() if path.is_dir()]
    assert [path.name.rpartition("-")[0] for path in made].count("teacher") == 1


@pytest.mark.long
def test_without_slurm_the_jobs_are_plain_processes_that_go_on_where_they_stopped(tmp_path):
    # What Slurm has for its jobs.
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" >> asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    given = settings(SLURM_ARRAY_TASK_COUNT="2", SLURM_ARRAY_TASK_MIN="0", SLURM_JOB_ID="7")
    given["PATH"] = f"{tmp_path}:{given['PATH']}"

    def job(task: int, *words: str) -> subprocess.Popen[bytes]:
        command = ["bash", str(SCRIPTS / "grid.sbatch"), *WORDS, *words]
        env = {**given, "SLURM_ARRAY_TASK_ID": str(task)}
        return subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)

    first = job(0, "--set", "teacher.epochs=100000")  # as long as it is let
    patience = time.monotonic() + 200
    while not list(tmp_path.glob("work/stages/teacher-*.partial/*")):
        assert first.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=100) == 0
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert list(tmp_path.glob("work/stages/teacher-*.partial"))  # which its next turn goes on with
    shutil.rmtree(tmp_path / "work")
    assert [each.wait(timeout=300) for each in (job(0), job(1))] == [0, 0]
    command = ["bash", str(SCRIPTS / "collect.sbatch"), "work", "results/grid.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert methods(tmp_path / "results/grid.jsonl") == METHODS
    assert (tmp_path / "results/grid/leaderboards.md").exists()
