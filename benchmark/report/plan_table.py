"""The table of a dry run: stages that are there and that would be made, their bytes and time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ..core.progress import spoken
from .leaderboard import Table, one_line
from .names import size

if TYPE_CHECKING:
    from ..experiment.plan import Planned


def plan_table(planned: "Sequence[Planned]") -> Table:
    """A line for each kind of stage and what it is of."""
    lines = [
        {
            "stage": each.stage,
            "of": one_line(each.of),
            "there": f"{each.there:,}",
            "missing": f"{each.missing:,}",
            "bytes": "-" if each.bytes is None else size(each.bytes),
            "time": _time(each),
        }
        for each in planned
    ]
    below = (
        "Bytes and time of what is missing, one after another; `-`: not known beforehand. "
        "With --verbose, each cell."
    )
    return Table("plan", "what a run would make", "plan", pd.DataFrame(lines), below)


def _time(planned: "Planned") -> str:
    if not planned.missing:
        return ""
    return "-" if planned.seconds is None else spoken(planned.seconds)
