"""`profile`: where the time of a student's step goes, for each method and student of a grid."""

from typing import Any

from ..api.surroundings import Place
from ..core.progress import quiet
from ..experiment.grid import Grid
from .measuring import measured, opened
from .options import takes
from .showing import Showing


@takes(Grid, Place, Showing)
def profile(asked: dict[str, Any], at: Place, showing: Showing) -> None:
    """Time the parts of a step with each method's labels: the student, rendering, labels, loss.

    Takes the words of `run`, and makes the stages that are missing; no student is trained, and
    each is timed once whatever --seeds says. In one run, in turns: the bare student step, the
    parts that labels add, an evaluation, and plain copies of memory. Records go to
    profile.jsonl in the work folder; `leaderboard WORK --out FOLDER` draws them, and
    `collect WORK --to results/speed.jsonl` publishes them.
    """
    with quiet(showing.quiet):
        experiment, cells = opened(asked, at)

        from ..experiment.profile import profile as take_apart
        from ..records.measurements import PROFILE

        measured(experiment, cells, take_apart, at.folder / PROFILE, showing)
