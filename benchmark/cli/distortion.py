"""`distortion`: how far each method's labels are from the teacher's, and their bytes."""

from typing import Any

from ..api.surroundings import Place
from ..core.progress import quiet
from ..experiment.grid import Grid
from .measuring import measured, opened
from .options import takes
from .showing import Showing


@takes(Grid, Place, Showing)
def distortion(asked: dict[str, Any], at: Place, showing: Showing) -> None:
    """Compare each method's labels with the teacher's, beside their bytes; no student is trained.

    Takes the words of `run`, and makes the stages that are missing; each method is looked at once,
    whatever --seeds says, on a sample of the views that students see. With --budget 2kB,10kB it
    gives each method's curve of distortion over bytes in the time of its fits. Records go to
    distortion.jsonl in the work folder; `collect WORK --to results/distortion.jsonl` publishes
    them.
    """
    with quiet(showing.quiet):
        experiment, cells = opened(asked, at)

        from ..experiment.distortion import distortion as compare
        from ..records.measurements import DISTORTION

        measured(experiment, cells, compare, at.folder / DISTORTION, showing)
