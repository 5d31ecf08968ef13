"""The process that fits: what `fit` leaves in memory cannot reach a student.

Teachers, images and artefacts are made in one long-lived process apart from the one that loads
artefacts and trains students. It starts with the first work there is for it, and ends with the
process that started it.
"""

import contextlib
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..core import plugins
from ..core.errors import UserError
from ..core.files import disk_is_full
from ..core.progress import stage
from ..labels.contract import method
from .dataset_and_teacher import Runtime
from .failures import Failure, describe
from .grid import Grid
from .stages import Experiment, ResolvedLabels
from .worker import Worker

_worker = Worker()
if hasattr(os, "register_at_fork"):
    # A process that was forked from this one has to start its own.
    os.register_at_fork(after_in_child=_worker.forget)


def call(work: Callable[..., Failure | None], *arguments: Any) -> Failure | None:
    """Do `work` in the fitting process; methods' classes may be among the arguments.

    Returns:
        What `work` returns, or a failure if the process died over it.
    """
    try:
        return _worker.call(work, *arguments)
    except BrokenProcessPool as error:
        return Failure(
            "The process that fits artefacts died; the system may have been out of memory.",
            "".join(traceback.format_exception(error)),
        )


def start() -> None:
    """Let it start, where there will be work for it; returns at once."""
    _worker.start()


def stop() -> None:
    """End the fitting process, whatever it does."""
    _worker.stop()


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
        """What is sent of an experiment; reads its dataset and teacher."""
        return cls(experiment.grid, experiment.runtime, experiment.identity)

    def opened(self) -> Experiment:
        """The experiment, its dataset and teacher kept from call to call.

        Raises:
            UserError: the files it reads were changed since it was resolved.
        """
        with stage("start", "read dataset and teacher", aloud=False):
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
    with told(labels.variant.method) as failed:
        given.opened().make_stages(labels)
    return failed[0] if failed else None


def make_teacher(given: Given) -> Failure | None:
    """Make the teacher, and what else all labels wait for."""
    with told("") as failed:
        given.opened().teacher_accuracy()
    return failed[0] if failed else None


def prepare(given: Given, alike: list[ResolvedLabels]) -> Failure | None:
    """Let a method `prepare` artefacts that differ only in the draw of their images."""
    first = alike[0]
    with told(first.variant.method) as failed:
        experiment = given.opened()
        with TemporaryDirectory() as scratch:
            tasks = [experiment.fitting_task(labels, Path(scratch))[0] for labels in alike]
            method(first.variant.method).prepare(tasks, first.options)
    return failed[0] if failed else None


@contextlib.contextmanager
def told(name: str) -> Iterator[list[Failure]]:
    """Catch what goes wrong with a method of that name, or with none.

    It is the one item of the list that is given, afterwards. A full disk is raised: so would it be
    for every other method.
    """
    failed: list[Failure] = []
    try:
        yield failed
    except Exception as error:
        if disk_is_full(error):
            raise
        failed.append(describe(error, plugins.sources_of(plugins.METHODS, name) if name else ()))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
