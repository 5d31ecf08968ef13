"""`--jobs N`: groups of cells in processes side by side, each with its share of the threads.

A small network leaves most of a processor idle: two students on one thread each are done sooner
than one after another on two threads.
"""

import os
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from queue import Empty, SimpleQueue

import torch

from ..core.device import Compute
from ..core.errors import UserError
from . import fitter
from .failures import Failed, Failure
from .fitter import Given
from .grid import Cell
from .groups import Group, grouped
from .run_cell import Cells, ResolvedCell
from .run_grid import Told, measure, prepare
from .worker import Worker

BYTES_EACH = 3 * 2**30  # of memory, for a job and its fitting process


def number_of(asked: str, compute: Compute, cells: int) -> int:
    """How many jobs `--jobs` asks for; `auto`: one a thread on a CPU, as cells and memory allow.

    Raises:
        UserError: it is neither `auto` nor a number from 1.
    """
    if asked == "auto":
        if compute.device.type != "cpu":
            return 1
        return max(1, min(torch.get_num_threads(), cells, _free_memory() // BYTES_EACH))
    if not asked.isdigit() or not 1 <= int(asked) <= 1024:
        raise UserError(f"--jobs takes auto, or a number from 1 to 1024, got {asked!r}.")
    return int(asked)


def _free_memory() -> int:
    """Bytes of free memory, caches of files counted as free where the system tells of them."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            facts = dict(line.split(":") for line in file)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def execute(jobs: int, threads: int) -> Callable[[Cells, list[ResolvedCell]], Failed]:
    """What measures cells in so many processes.

    Args:
        threads: of all of them; this process has the share of one.
    """

    def work(runner: Cells, missing: list[ResolvedCell]) -> Failed:
        return _Jobs(runner, missing, jobs, threads).run()

    return work


class _Jobs:
    """Workers, the groups that wait for one, and what failed."""

    def __init__(self, runner: Cells, missing: list[ResolvedCell], jobs: int, threads: int) -> None:
        self.experiment, self.tally, self.missing = runner.experiment, runner.tally, missing
        self.jobs, self.threads = jobs, threads

    def run(self) -> Failed:
        """Measure all cells."""
        failed = prepare(self.experiment, self.missing)
        left = [cell for cell in self.missing if cell.cell not in failed]
        self.tally.drop(failed)
        groups: SimpleQueue[Group] = SimpleQueue()
        for group in grouped(left, self.experiment.runtime.share, self.jobs):
            groups.put(group)
        workers = [Worker(c, n) for n, c in enumerate(self._cores()[: groups.qsize()], 1)]
        try:
            for worker in workers:
                worker.start()  # they import while common stages are made
            if left:
                self._make_common(left)
            with ThreadPoolExecutor(self.jobs) as pool:
                waiting = [pool.submit(self._serve, worker, groups) for worker in workers]
                try:
                    for served in as_completed(waiting):
                        failed |= served.result()
                except BaseException:
                    while not groups.empty():
                        groups.get()
                    for worker in workers:
                        worker.stop()
                    raise
        finally:
            for worker in workers:
                worker.stop()
        return failed

    def _make_common(self, left: Sequence[ResolvedCell]) -> None:
        """Make what all jobs would wait for, with all threads; what fails, fails again in a job."""
        labels = {cell.labels.digest: cell.labels for cell in left}
        share = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            given = Given.of(self.experiment)
            if len(labels) == 1:
                fitter.call(fitter.make_stages, given, *labels.values())
            else:
                fitter.call(fitter.make_teacher, given)
        finally:
            torch.set_num_threads(share)
            fitter.stop()

    def _cores(self) -> list[list[int] | None]:
        """The cores of each job; None where they are not all this run's own."""
        if hasattr(os, "sched_getaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            if len(cores) == self.threads and self.threads % self.jobs == 0:
                each = self.threads // self.jobs
                return [cores[n * each : (n + 1) * each] for n in range(self.jobs)]
        return [None] * self.jobs

    def _serve(self, worker: Worker, groups: "SimpleQueue[Group]") -> Failed:
        """Have a worker measure group after group, until none is left."""
        failed: Failed = {}
        given = Given.of(self.experiment)
        while True:
            try:
                group = groups.get_nowait()
            except Empty:
                return failed
            cells = [cell.cell for cell in group]
            try:
                told, wrong = worker.call(_measure, given, cells)
            except BrokenProcessPool as error:
                text = "".join(traceback.format_exception(error))
                died = Failure("The job's process died; the system may be out of memory.", text)
                told, wrong = [], dict.fromkeys(cells, died)
                told = [(cell, f"FAILED: {died.message}") for cell in cells]
            for cell, took in told:
                self.tally.tell(cell, took)
            failed |= wrong


def _measure(given: Given, cells: Sequence[Cell]) -> tuple[list[Told], Failed]:
    """Measure cells here; returns what there is to tell of each, and those that failed."""
    experiment = given.opened()
    runner, labels = Cells(experiment), experiment.resolve(cells).labels
    told: list[Told] = []
    failed = measure(
        runner,
        [runner.resolve(cell, labels[cell]) for cell in cells],
        lambda cell, took: told.append((cell, took)),
    )
    return told, failed
