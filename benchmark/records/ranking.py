"""Ranks: which rows of a comparison are shown to differ, and what place that gives each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .statistics import LEAST_PAIRS, Paired, corrected, count_draws, paired

Repeat = tuple[int, int]  # draw of the images, seed of the student
Correct = Mapping[Repeat, np.ndarray]  # which test images a row got right in each repeat


def pairs(rows: Sequence[Correct]) -> dict[tuple[int, int], Paired]:
    """All pairs of rows, their p values corrected together."""
    stacks: dict[tuple[int, tuple[Repeat, ...]], np.ndarray] = {}

    def stacked(place: int, repeats: tuple[Repeat, ...]) -> np.ndarray:
        if (place, repeats) not in stacks:
            stacks[place, repeats] = np.stack([rows[place][r] for r in repeats])
        return stacks[place, repeats]

    raw: dict[tuple[int, int], Paired] = {}
    for i, first in enumerate(rows):
        for j in range(i + 1, len(rows)):
            shared = tuple(r for r in first if _alike(first, rows[j], r))
            draws = [draw for draw, _ in shared]
            raw[i, j] = (
                paired(stacked(i, shared), stacked(j, shared), draws) if shared else Paired(0)
            )
    tested = [at for at, pair in raw.items() if pair.p is not None]
    fair = corrected([p for at in tested if (p := raw[at].p) is not None])
    return raw | {at: replace(raw[at], p=p) for at, p in zip(tested, fair, strict=True)}


def independent(repeats: Iterable[Repeat]) -> int:
    """How many repeats count: draws of the images where there are enough, else seeds."""
    draws = [draw for draw, _ in repeats]
    return len(set(draws)) if count_draws(draws) else len(draws)


def _alike(first: Correct, second: Correct, repeat: Repeat) -> bool:
    """Whether both have this repeat, tested on as many images."""
    other = second.get(repeat)
    return other is not None and len(first[repeat]) == len(other)


def ranks(rows: Sequence[Correct], paired_rows: dict[tuple[int, int], Paired]) -> list[int | None]:
    """Ranks of rows that stand best first: the first of a rank decides who shares it.

    A row with too few repeats has none, and takes no rank away from others. A row ranks lower
    only if it is worse on the repeats that both have, too.
    """
    made: list[int | None] = [None] * len(rows)
    first, rank, ranked = None, 1, 0
    for place, row in enumerate(rows):
        if independent(row) < LEAST_PAIRS:
            continue
        if first is None:
            first = place
        pair = paired_rows.get((first, place))
        if pair is not None:
            if pair.p is None:
                continue
            if pair.differ and (pair.difference or 0) > 0:
                first, rank = place, ranked + 1
        made[place], ranked = rank, ranked + 1
    return made
