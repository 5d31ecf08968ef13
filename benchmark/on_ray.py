"""`--executor ray`: the same cells and records, on many GPUs and machines.

The work folder, the data root and the installed package must be reachable on every machine.
Cells that share an artefact stay together, one GPU (or one CPU) to each such group.
"""

from itertools import groupby
from pathlib import Path

import ray

from . import registry
from .grid import Cell, Grid
from .inputs import Runtime
from .pipeline import Pipeline
from .progress import track
from .running import Failures, measure


def execute(pipeline: Pipeline, missing: list[Cell]) -> Failures:
    """Measure cells on the Ray cluster of RAY_ADDRESS, or on one started on this machine."""
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    gpus = 1 if pipeline.runtime.compute.device.type == "cuda" else 0
    remote = ray.remote(num_cpus=1, num_gpus=gpus)(_work)
    groups = [list(g) for _, g in groupby(missing, lambda c: (c.images, c.ipc, c.variant))]
    waiting = [
        remote.remote(pipeline.grid, pipeline.runtime, registry.plugin_files(), group)
        for group in groups
    ]
    failed: Failures = []
    for _ in track(range(len(groups)), "artefacts on ray"):
        done, waiting = ray.wait(waiting)
        failed += ray.get(done[0])
    return failed


def _work(grid: Grid, runtime: Runtime, plugins: list[Path], cells: list[Cell]) -> Failures:
    for path in plugins:
        registry.add_plugin(path)
    return measure(Pipeline(grid, runtime), cells)
