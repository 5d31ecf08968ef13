"""What `profile` and `distortion` share: one measurement of each method and student of a grid."""

from pathlib import Path
from typing import Any

from ..api.measure import grid_of, set_for_nothing
from ..api.surroundings import Place
from ..core.errors import Interrupted, UserError
from ..core.remote_work import RemoteWork
from ..experiment import grid as grids
from .showing import Showing, show_json, show_tables


def opened(asked: dict[str, Any], at: Place) -> tuple[Any, list[grids.Cell]]:
    """The experiment that is asked for, and its cells.

    Raises:
        UserError: a name is wrong, or the work folder is at a URL.
        Interrupted: by Ctrl-C.
    """
    from ..core import plugins

    if RemoteWork.at(at.work):
        raise UserError(
            "What is timed and compared here goes into one file of the work folder, and --work at "
            "a URL has only records of their own: name a folder of this machine."
        )

    for path in at.plugin or ():
        plugins.add(path)
    grid = grid_of(asked, at.config)
    cells = list(grids.cells(grid))

    from ..core.progress import say, stage

    try:
        with stage("start", "load torch", aloud=False):
            from ..core.device import choose
            from ..experiment.dataset_and_teacher import Runtime
            from ..experiment.stages import Experiment
    except KeyboardInterrupt as error:
        raise Interrupted("nothing was begun.") from error

    runtime = Runtime(at.folder, choose(at.device, at.precision), at.data_root, at.download)
    for line in set_for_nothing(grid, asked):
        say(line)
    return Experiment(grid, runtime), cells


def measured(
    experiment: Any, cells: list[grids.Cell], measure: Any, file: Path, showing: Showing
) -> None:
    """Measure each, write the records and print their tables."""
    from ..core.progress import say
    from ..experiment.measure_each import measure_each
    from ..report import distortion_tables, speed_tables

    def show(made: list[Any]) -> None:
        if showing.json:
            show_json(made)
        else:
            tables = [*speed_tables.tables(made), *distortion_tables.tables(made)]
            show_tables(tables, showing.wide)
        say(f"records: {file}")

    measure_each(experiment, cells, measure, file, show)
