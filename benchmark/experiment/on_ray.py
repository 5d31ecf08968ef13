"""`--executor ray`: the same cells and records, on many GPUs and machines.

The working directory, the work folder, the data root and the installed package must be reachable
on every machine. Cells that share an artefact stay together; each such group has one GPU, or as
many CPUs as this process has threads.
"""

from itertools import groupby

import ray
from ray.exceptions import RayError

from ..core.progress import say, track
from .dataset_and_teacher import Runtime
from .failures import Failed, describe
from .grid import Cell, Grid
from .run_cell import Cells, ResolvedCell
from .run_grid import measure
from .stages import Experiment
from .worker import Surroundings


def execute(runner: Cells, missing: list[ResolvedCell]) -> Failed:
    """Measure cells on the Ray cluster of RAY_ADDRESS, or on one started on this machine."""
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    experiment = runner.experiment
    here, gpu = Surroundings.here(), experiment.runtime.compute.device.type == "cuda"
    remote = ray.remote(num_cpus=1 if gpu else here.threads, num_gpus=int(gpu))(_work)
    alike = groupby((cell.cell for cell in missing), lambda c: (c.images, c.ipc, c.variant))
    groups = [list(cells) for _, cells in alike]
    running = {
        remote.remote(here, experiment.grid, experiment.runtime, group): group for group in groups
    }
    failed: Failed = {}
    for _ in track(range(len(groups)), "artefacts on ray"):
        (done, *_), _ = ray.wait(list(running))
        group = running.pop(done)
        try:
            wrong = ray.get(done)
        except RayError as error:  # the worker, not a cell: none of these is left
            wrong = dict.fromkeys(group, describe(error, ()))
        for cell in group:
            said = f"FAILED: {wrong[cell].message}" if cell in wrong else "done"
            say(f"{cell.label}: {said}")
        failed |= wrong
    return failed


def _work(here: Surroundings, grid: Grid, runtime: Runtime, cells: list[Cell]) -> Failed:
    here.take_over()  # with as many threads, or it would be another world
    experiment = Experiment(grid, runtime)
    runner, labels = Cells(experiment), experiment.resolve(cells).labels
    return measure(runner, [runner.resolve(cell, labels[cell]) for cell in cells])
