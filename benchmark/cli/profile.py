"""`profile`: where the time of a student's step goes, for each method and student of a grid."""

from typing import Any

import typer

from ..api.measure import grid_of
from ..api.surroundings import Place
from ..experiment import grid as grids
from ..experiment.grid import Grid
from .options import takes


@takes(Grid, Place)
def profile(asked: dict[str, Any], at: Place) -> None:
    """Time the parts of a step with each method's labels: the student, rendering, labels, loss.

    Takes the words of `run`, and makes the stages that are missing; no student is trained, and
    each is timed once whatever --seeds says. In one run, in turns: the bare student step, the
    parts that labels add, an evaluation, and plain copies of memory. Records go to
    profile.jsonl in the work folder; `leaderboard WORK --out FOLDER` draws them, and
    `collect WORK --to results/speed.jsonl` publishes them.
    """
    from ..core import plugins

    for path in at.plugin or ():
        plugins.add(path)
    grid = grid_of(asked, at.config)
    cells = list(grids.cells(grid))

    from ..core.device import choose
    from ..core.progress import say
    from ..experiment import profile as profiles
    from ..experiment.dataset_and_teacher import Runtime
    from ..experiment.stages import Experiment
    from ..records import speed
    from ..report import speed_tables

    runtime = Runtime(at.work, choose(at.device, at.precision), at.data_root, at.download)

    def show(made: list[Any]) -> None:
        for table in speed_tables.tables(made):
            typer.echo(table.text())
        say(f"records: {at.work / speed.OF_WORK}")

    profiles.run(Experiment(grid, runtime), cells, show)
