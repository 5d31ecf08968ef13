"""`--executor ray`: the same cells and records, on many GPUs and machines.

The work folder, the data root and the installed package must be reachable on every machine.
Cells that share an artefact stay together, one GPU (or one CPU) to each such group.
"""

from itertools import groupby
from pathlib import Path

import ray
from ray.exceptions import RayError

from . import registry
from .experiment import Experiment
from .failures import describe
from .grid import Cell, Grid
from .inputs import Runtime
from .progress import say, track
from .run_cell import Cells, ResolvedCell
from .run_grid import Failed, measure


def execute(runner: Cells, missing: list[ResolvedCell]) -> Failed:
    """Measure cells on the Ray cluster of RAY_ADDRESS, or on one started on this machine."""
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    experiment = runner.experiment
    gpus = 1 if experiment.runtime.compute.device.type == "cuda" else 0
    remote = ray.remote(num_cpus=1, num_gpus=gpus)(_work)
    alike = groupby((cell.cell for cell in missing), lambda c: (c.images, c.ipc, c.variant))
    groups = [list(cells) for _, cells in alike]
    grid, runtime, plugins = experiment.grid, experiment.runtime, registry.plugin_paths()
    running = {remote.remote(grid, runtime, plugins, group): group for group in groups}
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


def _work(grid: Grid, runtime: Runtime, plugins: list[Path], cells: list[Cell]) -> Failed:
    registry.use_plugins(plugins)
    experiment = Experiment(grid, runtime)
    runner, labels = Cells(experiment), experiment.resolve(cells).labels
    return measure(runner, [runner.resolve(cell, labels[cell]) for cell in cells])
