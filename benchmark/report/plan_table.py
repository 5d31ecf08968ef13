"""The table of a dry run: stages that are there and that would be made, their bytes and time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from ..core.progress import spoken
from .fitting import fitted_cells
from .leaderboard import WORDS, one_line
from .names import size

if TYPE_CHECKING:
    from ..experiment.plan import Planned


def plan_table(planned: "Sequence[Planned]", width: int | None) -> str:
    """A line for each kind of stage and what it is of; whole if `width` is None."""
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
    names = ("stage", "of", "there", "missing", "bytes", "time")
    cells = {name: [line[name] for line in lines] for name in names}
    title = "what a run would make"
    if width is not None:
        return fitted_cells("plan", title, cells, below, width)
    aligned = ["left" if name in WORDS else "right" for name in names]
    body = tabulate(cells, headers="keys", colalign=aligned, disable_numparse=True)
    return f"PLAN | {title}\n{body}\n{below}\n"


def _time(planned: "Planned") -> str:
    if not planned.missing:
        return ""
    return "-" if planned.seconds is None else spoken(planned.seconds)
