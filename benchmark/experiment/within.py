"""`--within`: the cells that fit into a time, those that tell most first.

Controls come first, then the first repeat of everything, then further seeds and draws. A cell
whose time is not known is begun as long as any is left.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from ..core.progress import say, spoken
from ..labels.contract import method
from .estimate import Estimator
from .failures import Failed
from .grid import Cell
from .groups import grouped
from .run_cell import ResolvedCell

Work = Callable[[list[ResolvedCell]], Failed]


def measure_within(
    estimator: Estimator, missing: Sequence[ResolvedCell], until: float, work: Work
) -> Failed:
    """Measure cells as long as they fit, and say what is left out.

    What was measured corrects the estimates of what comes.

    Args:
        until: when to be done, by the monotonic clock.
        work: measures cells, and returns those that failed.
    """
    failed: Failed = {}
    left_out: list[ResolvedCell] = []
    expected, taken = 0.0, 0.0
    counted: set[str] = set()
    for wave in waves(estimator, missing):
        slower = taken / expected if expected else 1.0
        left = (until - time.monotonic()) / max(slower, 1e-9)
        chosen, later, seconds = fitting(estimator, wave, left, counted)
        left_out += later
        if chosen:
            started = time.monotonic()
            failed |= work(chosen)
            taken += time.monotonic() - started
            expected += seconds
    if left_out:
        estimate = estimator.of(left_out, counted)
        say(
            f"left out for want of time: {len(left_out)} of {len(missing)} cells, about "
            f"{spoken(estimate.seconds)} more; give the same command again to go on"
        )
    return failed


def fitting(
    estimator: Estimator, wave: Sequence[ResolvedCell], left: float, counted: set[str]
) -> tuple[list[ResolvedCell], list[ResolvedCell], float]:
    """Which cells of a wave fit into so many seconds, which do not, and what the first ones take.

    Args:
        counted: names of the stages that are made already, or will be; those chosen join them.
    """
    chosen, later, total = [], [], 0.0
    for cell in wave:
        seconds = estimator.of([cell], counted).seconds
        if total + seconds > left or left <= 0:
            later.append(cell)
            continue
        chosen.append(cell)
        total += seconds
        counted |= {item.name for item in estimator.items(cell)}
    return chosen, later, total


def waves(estimator: Estimator, missing: Sequence[ResolvedCell]) -> list[list[ResolvedCell]]:
    """The cells in the order that they are measured in, some at once.

    One group of cells that share their labels after another, where this process measures; else
    all that tell alike much, so that the jobs have work.
    """
    draws: dict[str, set[int]] = defaultdict(set)
    named = [(cell, estimator.runner.names(cell.cell)) for cell in missing]
    for _, names in named:
        draws[names["source"]].add(names["draw"])
    ranked: dict[tuple[int, bool], list[ResolvedCell]] = defaultdict(list)
    for cell, names in named:
        ranked[_rank(cell.cell, sorted(draws[names["source"]]).index(names["draw"]))].append(cell)
    together = [ranked[rank] for rank in sorted(ranked)]
    runtime = estimator.experiment.runtime
    if runtime.jobs > 1:
        return together
    return [group for cells in together for group in grouped(cells, runtime.share)]


def _rank(cell: Cell, draw: int) -> tuple[int, bool]:
    """Which repeat it is, of seeds and draws, and whether of something that is no control."""
    return cell.seed + draw, method(cell.variant.method).control is None
