"""A process that works for this one: it starts with its first work, and ends with this process."""

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import cloudpickle
import torch
from loky.backend import get_context

from ..core import plugins, progress

T = TypeVar("T")
VARIABLES = "LABELBENCH_"


@dataclass(frozen=True, eq=False)
class _Process:
    """A pool of one process, and that process's number, once it has started."""

    pool: ProcessPoolExecutor
    pid: Future[int]

    def kill(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(ProcessLookupError, BrokenProcessPool):
            os.kill(self.pid.result(), signal.SIGTERM)


_started: "WeakSet[_Process]" = WeakSet()


class Worker:
    """One long-lived process.

    Args:
        cores: the processor's cores that it, and what it starts, may use; by default this
            process's.
        job: its number among those that work side by side, from 1; it may start processes of its
            own, which it ends before it ends. 0 for one that works for this process alone.
    """

    def __init__(self, cores: Sequence[int] | None = None, job: int = 0) -> None:
        self._cores, self._job = cores, job
        self._process: _Process | None = None

    def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do `work` there; methods' classes may be among the arguments.

        Raises:
            BrokenProcessPool: the process died over it; the next work starts another.
        """
        process = self.start()
        payload = cloudpickle.dumps((work, arguments))
        try:
            if not process.pid.done():
                with progress.stage("start", "start a process", aloud=False):
                    process.pid.result()
            return process.pool.submit(_serve, Surroundings.here(), payload).result()
        except BrokenProcessPool:
            self.forget()  # it is dead, and its number may be somebody else's by now
            raise
        except BaseException:
            self.stop()
            raise

    def start(self) -> _Process:
        """Have the process, which takes some seconds to import what it needs; returns at once."""
        if self._process is None:
            # loky's way to start a process, unlike `spawn`, does not run a user's script again.
            context, told, tell = get_context("loky"), None, None
            if progress.is_live():
                told, tell = context.Pipe(duplex=False)
            quiet = isinstance(progress.sink(), progress.Quiet)
            pool = ProcessPoolExecutor(1, context, _speak_to, (tell, quiet))
            with _ctrl_c_kept_back():
                self._process = _Process(pool, pool.submit(_begin, self._cores, bool(self._job)))
            _started.add(self._process)
            if told is not None and tell is not None:
                tell.close()  # the process has its own, and its end is seen
                threading.Thread(target=progress.take, args=(told, self._job), daemon=True).start()
        return self._process

    def forget(self) -> None:
        """Have no process, whatever becomes of it."""
        if self._process is not None:
            _started.discard(self._process)
        self._process = None

    def stop(self) -> None:
        """End the process, whatever it does."""
        process = self._process
        self.forget()
        if process is not None:
            process.kill()
            process.pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Surroundings:
    """What a worker takes over before each work, as it may have changed meanwhile.

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
        """This process's own."""
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


@contextmanager
def _ctrl_c_kept_back() -> Iterator[None]:
    """Have processes that are started not see Ctrl-C, which a terminal sends to all at once.

    This one sees it as soon as this is over, and ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # as it starts, it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _speak_to(connection: Any, quiet: bool) -> None:
    """Where this process says what it does; to a connection if there is one."""
    if connection is not None:
        remote = progress.Remote(connection)
        progress.choose(remote)
        sys.stderr = progress.Written(remote)  # it would break the view
    else:
        progress.choose(progress.Quiet() if quiet else progress.Lines())


def _begin(cores: Sequence[int] | None, job: bool) -> int:
    """Asked for by its name, so that this module and all it imports are there."""
    if cores is not None:
        os.sched_setaffinity(0, cores)
    if job:
        signal.signal(signal.SIGTERM, _end)
    return os.getpid()


def _end(*_: object) -> None:
    """End this process and, first, those that it started: it would wait for them for ever."""
    for process in list(_started):
        process.kill()
    sys.exit()


def _serve(surroundings: Surroundings, payload: bytes) -> Any:
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
