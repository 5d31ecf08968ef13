"""`--executor ray`: the same cells and records, each stage a task on many GPUs and machines.

Teachers, images a range of classes at a time, shards of labels, fits, students with their tests:
what one task makes, others find in the work folder, which every machine must reach, as it must the
working directory, the data root and the installed package. Plugins, those of notebooks too, are
sent along. A task has one GPU, or as many CPUs as this process has threads, and the memory that it
is thought to take. Beside each process that trains students one makes the stages: no fit reaches a
student.

A machine that dies takes its tasks with it, which others begin anew: what was half made goes on
from its checkpoint, where the work folder is a shared one and no URL. A lost driver loses nothing:
the same command goes on.
"""

import logging
import os
import pickle
import platform
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle
import ray
from ray.exceptions import RayError, RayTaskError
from tabulate import tabulate

from ..core import plugin_files
from ..core.errors import UserError
from ..core.files import disk_is_full
from ..core.plugin_files import PluginFiles
from ..core.progress import say
from . import fitter
from .failures import Failed, Failure, describe
from .fitter import Given
from .run_cell import FAILURES, Cells, ResolvedCell
from .tasks import STUDENTS, Outcome, Task, Tasks
from .worker import Surroundings

RETRIES = 3  # of a task whose machine or process died
OBJECTS = 128 * 2**20  # bytes for what is sent, of a cluster that is started here
LONGEST_TABLE = 100  # rows; of more, those of a machine and a kind are added up


@dataclass(frozen=True)
class Row:
    """Who did what: a machine's name, the kind of a stage, what it is of, how long it took."""

    node: str
    kind: str
    about: str
    seconds: float


@dataclass(frozen=True)
class Room:
    """What the largest machine of a cluster has, and how many tasks run at once on how many.

    Attributes:
        memory: bytes.
    """

    memory: int
    tasks: int
    machines: int


def execute(runner: Cells, missing: list[ResolvedCell], address: str | None = None) -> Failed:
    """Measure cells on a Ray cluster.

    Args:
        address: of the cluster, as `ray.init` takes it; by default that of RAY_ADDRESS, or one
            that is started on this machine.

    Raises:
        UserError: no cluster is there, or none of its machines can do a task.
    """
    here, gpu = Surroundings.here(), runner.experiment.runtime.compute.device.type == "cuda"
    needed: dict[str, float] = {"CPU": 1 if gpu else here.threads, "GPU": int(gpu)}
    with _cluster(address, here.threads):
        room = _room(needed)
        tasks = Tasks(runner.experiment, missing, room.tasks)
        return _Driver(runner, tasks.all, here, needed, room).run()


@contextmanager
def _cluster(address: str | None, threads: int) -> Iterator[None]:
    """Be connected to a cluster for a while; one that was before is left as it is."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own: dict[str, Any] = {"object_store_memory": OBJECTS, "include_dashboard": False}
    own["num_cpus"] = max(threads, os.cpu_count() or 1)
    in_main = threading.current_thread() is threading.main_thread()
    ending = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, logging_level=logging.WARNING, **({} if address else own))
    except (ConnectionError, ValueError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0]
        raise UserError(
            f"There is no Ray cluster at {address!r} ({told}). Start one with `ray start --head`, "
            "or leave out --address and RAY_ADDRESS to have one on this machine."
        ) from error
    if in_main:
        signal.signal(signal.SIGTERM, ending)  # Ray has its own way to end
    try:
        yield
    finally:
        ray.shutdown()


def _room(needed: dict[str, float]) -> Room:
    """What there is for tasks of these needs.

    Raises:
        UserError: no machine has as much, so that they would wait for ever.
    """
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, count in needed.items():
        most = max((found.get(name, 0) for found in alive), default=0)
        if most < count:
            raise UserError(
                f"A task takes {count:g} {name}, and the largest of the cluster's {len(alive)} "
                f"machines has {most:g}: set OMP_NUM_THREADS to no more threads than that, or "
                "take another --device."
            )
    slots = [min(node.get(n, 0) // count for n, count in needed.items() if count) for node in alive]
    memory = max(found.get("memory", 0) for found in alive)
    return Room(int(memory), int(max(1, sum(slots))), len(alive))


@dataclass
class _Driver:
    """One run on a cluster.

    Attributes:
        ended: tasks that are done or failed, and what went wrong.
        rows: who did what.
    """

    runner: Cells
    waiting: list[Task]
    here: Surroundings
    needed: dict[str, float]
    room: Room
    running: dict[Any, Task] = field(default_factory=dict)
    ended: dict[Task, Failure | None] = field(default_factory=dict)
    failed: Failed = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def run(self) -> Failed:
        """Do all tasks; cells that failed."""
        given, total = Given.of(self.runner.experiment), len(self.waiting)
        # What is the same for all tasks is sent once.
        common = ray.put((self.here, plugin_files.packed(), cloudpickle.dumps(given)))
        many = "machine" if self.room.machines == 1 else "machines"
        say(f"{total} tasks on {self.room.machines} {many}, {self.room.tasks} at once")
        try:
            while self.waiting or self.running:
                self._start(common)
                if self.running:
                    (done, *_), _ = ray.wait(list(self.running))
                    self._take(self.running.pop(done), done)
        finally:
            for begun in self.running:
                ray.cancel(begun, force=True)
            for line in who_did_what(self.rows):
                say(line)
        return self.failed

    def _start(self, common: Any) -> None:
        """Have all tasks done that wait for nothing any more."""
        for task in list(self.waiting):
            wrong = [failure for each in task.after if (failure := self.ended.get(each))]
            if wrong:
                self.waiting.remove(task)
                self._end(task, wrong[0])
            elif all(each in self.ended for each in (*task.after, *task.helps)):
                self.waiting.remove(task)
                remote = ray.remote(_work).options(
                    name=task.kind,
                    num_cpus=self.needed["CPU"],
                    num_gpus=self.needed["GPU"],
                    memory=min(task.bytes, self.room.memory),
                    max_retries=RETRIES,
                )
                work = cloudpickle.dumps(task.work)
                self.running[remote.remote(common, task.kind, work)] = task

    def _take(self, task: Task, done: Any) -> None:
        """Note what became of a task."""
        try:
            became, row = ray.get(done)
        except RayTaskError as error:
            cause = error.cause or error
            if isinstance(cause, UserError) or disk_is_full(cause):
                raise cause from error
            raise
        except RayError as error:  # the process, again and again, or the machine
            self._end(task, describe(error, ()))
            return
        self.rows.append(replace(row, about=task.about))
        if isinstance(became, Failure):
            self._end(task, became)
            return
        self.ended[task] = None
        if became is None:
            say(f"{task.kind}, {task.about}: {row.seconds:.1f} s on {row.node}")
            return
        self.failed |= dict(became.failed)
        for cell, took in became.told:
            self.runner.tally.tell(cell, took)

    def _end(self, task: Task, failure: Failure) -> None:
        """Give a task up, and with it the cells that it measures."""
        self.ended[task] = failure
        if not task.cells:
            say(f"{task.kind}, {task.about}: FAILED: {failure.message}")
        for resolved in task.cells:
            told = self.runner.experiment.runtime.work / FAILURES / f"{resolved.key}.txt"
            failure.write(told, resolved.cell.label)
            self.failed[resolved.cell] = failure
            self.runner.tally.tell(resolved.cell, f"FAILED: {failure.message}")


def who_did_what(rows: Sequence[Row]) -> list[str]:
    """A table, a line each: machine, stage, of what, seconds; added up where it would be long."""
    if not rows:
        return []
    if len(rows) > LONGEST_TABLE:
        added: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            added.setdefault((row.node, row.kind), []).append(row.seconds)
        rows = [Row(*at, f"{len(each)} tasks", sum(each)) for at, each in added.items()]
    cells = [(row.node, row.kind, row.about, f"{row.seconds:.1f}") for row in rows]
    heads = ("machine", "stage", "of", "seconds")
    return tabulate(cells, heads, disable_numparse=True).splitlines()


def _work(
    common: tuple[Surroundings, list[PluginFiles], bytes], kind: str, work: bytes
) -> tuple[Outcome | Failure | None, Row]:
    """Do a task of some kind in this process, of whichever machine, or in the one beside it."""
    here, sent, experiment = common
    # With as many threads, or it would be another world.
    replace(here, plugins=plugin_files.unpacked(sent)).take_over()
    given: Given = pickle.loads(experiment)
    do: Any = pickle.loads(work)
    started = time.monotonic()
    became = do(given) if kind == STUDENTS else fitter.call(do, given)
    node = f"{platform.node()} {ray.get_runtime_context().get_node_id()[:6]}"
    return became, Row(node, kind, "", time.monotonic() - started)
