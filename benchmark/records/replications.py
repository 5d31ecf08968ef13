"""Replications: what was measured in several worlds, and how far these differ."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np

from .comparison import Comparison, Setting, correct
from .record import Record
from .statistics import LEVEL, Paired, corrected, paired

Worlds = dict[str, dict[str, Record]]  # of one row: by the world's words, by key


@dataclass(frozen=True)
class Replication:
    """One method on one image source, in several worlds.

    Attributes:
        accuracy: the mean of its replicated repeats in each world, 0..1, by the world's words.
        n: repeats that were measured in more than one world.
        difference: the largest between two worlds, on the repeats that both have, 0..1.
        differ: whether any two worlds are shown to differ; None where repeats are too few to tell.
    """

    images: str
    method: str
    accuracy: Mapping[str, float]
    n: int
    difference: float
    differ: bool | None


@dataclass(frozen=True)
class Replications:
    """All rows of like comparisons that several worlds have.

    Attributes:
        places: the worlds, in few words.
    """

    title: str
    short: str
    places: tuple[str, ...]
    rows: tuple[Replication, ...]


def replications(found: Iterable[Comparison]) -> list[Replications]:
    """Whatever stands in several worlds under one key, in the order of titles.

    Teachers are trained anew in each world, so their accuracies may differ.
    """
    groups: dict[str, tuple[str, dict[tuple[str, str], Worlds]]] = {}
    names: dict[str, tuple[str, str]] = {}  # of a key's row, the same in all worlds
    for comparison in found:
        at = comparison.setting
        _, rows = groups.setdefault(shared_title(at), (at.short, {}))
        for row in comparison.rows:
            for record in row.records:
                name = names.setdefault(record["key"], row.name)
                rows.setdefault(name, {}).setdefault(at.place, {})[record["key"]] = record
    made = []
    for title, (short, rows) in sorted(groups.items()):
        shared = {name: kept for name, worlds in rows.items() if (kept := _replicated(worlds))}
        if shared:
            places = sorted({place for worlds in shared.values() for place in worlds})
            made.append(Replications(title, short, tuple(places), _compare(shared)))
    return made


def shared_title(at: Setting) -> str:
    """What comparisons of several worlds share, in words."""
    off = [f"OFF-PROTOCOL {at.changed[:6]}"] if at.changed else []
    recipe, teacher = f"recipe {at.recipe}", f"teacher {at.teacher}"
    parts = [at.dataset, f"IPC {at.ipc}", at.student, recipe, teacher, at.precision, *off]
    return ", ".join(parts)


def _replicated(worlds: Worlds) -> Worlds:
    """The records that more than one world has."""
    seen = Counter(key for records in worlds.values() for key in records)
    kept = {
        place: {key: record for key, record in records.items() if seen[key] > 1}
        for place, records in worlds.items()
    }
    return {place: records for place, records in sorted(kept.items()) if records}


def _compare(rows: Mapping[tuple[str, str], Worlds]) -> tuple[Replication, ...]:
    """Each row with its pairs of worlds; their p values are corrected together."""
    pairs = {name: _pairs(worlds) for name, worlds in sorted(rows.items())}
    fair = iter(corrected([pair.p for of in pairs.values() for pair in of if pair.p is not None]))
    made = []
    for name, of in pairs.items():
        verdicts = [next(fair) < LEVEL for pair in of if pair.p is not None]
        made.append(
            Replication(
                *name,
                accuracy={
                    place: fmean(r["result"]["accuracy"] for r in records.values())
                    for place, records in rows[name].items()
                },
                n=len({key for records in rows[name].values() for key in records}),
                difference=max(abs(pair.difference or 0.0) for pair in of),
                differ=any(verdicts) if verdicts else None,
            )
        )
    return tuple(made)


def _pairs(worlds: Worlds) -> list[Paired]:
    """Any two worlds, on the repeats that both have."""
    made = []
    for one, two in combinations(worlds.values(), 2):
        both = [(correct(one[key]), correct(two[key])) for key in sorted(one.keys() & two.keys())]
        both = [pair for pair in both if len(pair[0]) == len(pair[1]) == len(both[0][0])]
        first, second = ([pair[side] for pair in both] for side in (0, 1))
        made.append(paired(np.array(first), np.array(second)))
    return made
