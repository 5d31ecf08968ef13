"""The process that fits: what `fit` leaves in memory cannot reach a student.

Teachers, images and artefacts are made in one long-lived process apart from the one that loads
artefacts and trains students. It starts with the first work there is for it, and ends with the
process that started it.
"""

import contextlib
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cloudpickle
import torch
from loky.backend import get_context

from ..core import plugins
from ..core.errors import UserError
from ..core.files import disk_is_full
from ..labels.contract import method
from .dataset_and_teacher import Runtime
from .failures import Failure, describe
from .grid import Grid
from .stages import Experiment, ResolvedLabels

VARIABLES = "LABELBENCH_"


@dataclass(frozen=True)
class _Process:
    """A pool of one process, and that process's number, once it has started."""

    pool: ProcessPoolExecutor
    pid: Future[int]


_process: _Process | None = None


def _forget() -> None:
    """A process that was forked from this one has to start its own."""
    global _process
    _process = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def call(work: Callable[..., Failure | None], *arguments: Any) -> Failure | None:
    """Do `work` in the fitting process; methods' classes may be among the arguments.

    Returns:
        What `work` returns, or a failure if the process died over it.
    """
    process = start()
    payload = cloudpickle.dumps((work, arguments))
    try:
        return process.pool.submit(_serve, Surroundings.here(), payload).result()
    except BrokenProcessPool as error:
        _forget()  # it is dead, and its number may be somebody else's by now
        return Failure(
            "The process that fits artefacts died; the system may have been out of memory.",
            "".join(traceback.format_exception(error)),
        )
    except BaseException:
        stop()
        raise


def start() -> _Process:
    """Have the process, which takes some seconds to import what it needs; returns at once."""
    global _process
    if _process is None:
        # loky's way to start a process, unlike `spawn`, does not run a user's script again.
        pool = ProcessPoolExecutor(1, mp_context=get_context("loky"))
        _process = _Process(pool, pool.submit(_imported))
    return _process


def _imported() -> int:
    """Asked for by its name, so that this module and all it imports are there."""
    return os.getpid()


def stop() -> None:
    """End the fitting process, whatever it does."""
    global _process
    if _process is not None:
        with contextlib.suppress(ProcessLookupError, BrokenProcessPool):
            os.kill(_process.pid.result(), signal.SIGTERM)
        _process.pool.shutdown(wait=False, cancel_futures=True)
        _process = None


@dataclass(frozen=True)
class Surroundings:
    """What the fitting process takes over before each work, as it may have changed meanwhile.

    Attributes:
        place: the working directory, from which relative paths go.
        variables: of the environment, those of this project.
    """

    place: str
    variables: dict[str, str]
    plugins: list[Path]
    threads: int

    @classmethod
    def here(cls) -> "Surroundings":
        ours = {n: v for n, v in os.environ.items() if n.startswith(VARIABLES)}
        return cls(os.getcwd(), ours, plugins.paths(), torch.get_num_threads())

    def take_over(self) -> None:
        """Have the same in this process."""
        os.chdir(self.place)
        for name in [name for name in os.environ if name.startswith(VARIABLES)]:
            del os.environ[name]
        os.environ.update(self.variables)
        torch.set_num_threads(self.threads)
        torch.set_flush_denormal(True)  # vanishing weights slow a CPU down twentyfold
        plugins.use(self.plugins)


def _serve(surroundings: Surroundings, payload: bytes) -> Failure | None:
    _end_with(os.getppid())
    surroundings.take_over()
    work, arguments = pickle.loads(payload)
    return work(*arguments)


@lru_cache(1)
def _end_with(parent: int) -> None:
    """End this process as soon as `parent` has ended, however that came about."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class Given:
    """An experiment as it is sent to the fitting process.

    Attributes:
        identity: of its dataset and teacher, which are read again there.
    """

    grid: Grid
    runtime: Runtime
    identity: str

    @classmethod
    def of(cls, experiment: Experiment) -> "Given":
        return cls(experiment.grid, experiment.runtime, experiment.identity)

    def opened(self) -> Experiment:
        """The experiment, its dataset and teacher kept from call to call.

        Raises:
            UserError: the files it reads were changed since it was resolved.
        """
        return _opened(pickle.dumps(self))


@lru_cache(1)
def _opened(pickled: bytes) -> Experiment:
    given: Given = pickle.loads(pickled)
    experiment = Experiment(given.grid, given.runtime)
    if experiment.identity != given.identity:
        raise UserError("Dataset or teacher changed while the run was going on: start it again.")
    return experiment


def make_stages(given: Given, labels: ResolvedLabels) -> Failure | None:
    """Make all that a student of these labels needs; what goes wrong is returned, not raised."""
    with _told(labels.variant.method) as failed:
        given.opened().make_stages(labels)
    return failed[0] if failed else None


def prepare(given: Given, alike: list[ResolvedLabels]) -> Failure | None:
    """Let a method `prepare` artefacts that differ only in the draw of their images."""
    first = alike[0]
    with _told(first.variant.method) as failed:
        experiment = given.opened()
        with TemporaryDirectory() as scratch:
            tasks = [experiment.fitting_task(labels, Path(scratch))[0] for labels in alike]
            method(first.variant.method).prepare(tasks, first.options)
    return failed[0] if failed else None


@contextlib.contextmanager
def _told(name: str) -> Iterator[list[Failure]]:
    failed: list[Failure] = []
    try:
        yield failed
    except Exception as error:
        if disk_is_full(error):  # so would it be for every other method
            raise
        failed.append(describe(error, plugins.sources_of(plugins.METHODS, name)))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
