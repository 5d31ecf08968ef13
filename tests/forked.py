"""Processes of their own that begin with everything imported: forks of one that has done so.

That one starts with the first of them, and ends with this process. They have no memory of this
process, and none of one another; what must not be imported yet needs a new interpreter instead.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO

COMMAND = "from benchmark.__main__ import main\nmain()"  # `python -m benchmark`
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("torch", "benchmark.api.measure", "benchmark.cli.app", "benchmark.cli.run"),
        *("benchmark.experiment.run_grid", "benchmark.experiment.jobs"),
        *("benchmark.experiment.conformance.method", "benchmark.exchange.shipping"),
        *("benchmark.report.leaderboard", "benchmark.report.site", "benchmark.report.tables"),
    ]
)


def start(
    code: str,
    arguments: Sequence[object],
    cwd: Path,
    out: IO[bytes],
    err: IO[bytes],
    env: Mapping[str, str] | None = None,
) -> ForkServerProcess:
    """Begin to run code as a script of these arguments, in a session of its own."""
    ends = [Connection(os.dup(file.fileno()), readable=False) for file in (out, err)]
    words = [str(argument) for argument in arguments]
    settings = dict(os.environ if env is None else env)
    process = CONTEXT.Process(target=_run, args=(code, words, cwd, settings, *ends))
    process.start()
    for end in ends:
        end.close()
    return process


def run(
    code: str,
    arguments: Sequence[object] = (),
    cwd: Path = Path(),
    env: Mapping[str, str] | None = None,
    timeout: float = 300.0,
) -> "CompletedProcess[str]":
    """Run code as a script; as `subprocess.run` would, with its output as text."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(code, arguments, cwd, out, err, env)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return CompletedProcess([str(each) for each in arguments], process.exitcode or 0, *said)


def _run(
    code: str, words: list[str], cwd: Path, env: dict[str, str], out: Connection, err: Connection
) -> None:
    """What the process does."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, end in ((1, out), (2, err)):
        os.dup2(end.fileno(), number)
        end.close()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [str(Path.cwd()), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["labelbench", *words]
    try:
        exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
    finally:
        # As an interpreter ends: executors let go of processes that are waited for afterwards.
        threading._shutdown()  # type: ignore[attr-defined]
