"""DD-Ranking's label-robust score: how good images are, whatever their labels add."""

import math

from ..records.comparison import Comparison, Row


def label_robust(comparison: Comparison) -> dict[str, float]:
    """The score of each image source that it can be reckoned for, 0..1.

    From the accuracies of a comparison: its teacher, where it is the student's network, stands for
    that network taught by all real images; see the note of the images table.
    """
    setting = comparison.setting
    if setting.teacher != setting.student or not setting.on_protocol:
        return {}
    present = [row for row in comparison.rows if row.n]
    best: dict[str, float] = {}
    hard: dict[str, float] = {}
    for row in present:
        best[row.images] = max(best.get(row.images, 0.0), row.accuracy[0])
        if row.control == "floor":
            hard[row.images] = row.accuracy[0]
    real = [best[row.images] for row in present if _baseline(row)]
    if not real:
        return {}
    found = {}
    for source in hard.keys() - {row.images for row in present if _baseline(row)}:
        lacks = setting.teacher_accuracy - hard[source]
        gains = best[source] - max(real)
        found[source] = score(lacks, gains)
    return found


def score(lacks: float, gains: float) -> float:
    """The score of HLR `lacks` and IOR `gains`, both in 0..1."""
    a = gains / 2 - lacks / 2
    return (math.exp(a) - math.exp(-1)) / (math.e - math.exp(-1))


def _baseline(row: Row) -> bool:
    return any(record["roles"]["baseline"] for record in row.records)
