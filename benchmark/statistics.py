"""Statistics of repeated measurements."""

import math
from collections.abc import Sequence

from scipy import stats


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None]:
    """Mean, and half the width of Student's t interval; None where one value gives none.

    The interval covers what was varied between the values, here the student's seed; images,
    artefact and test set are the same for all.
    """
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    quantile = float(stats.t.ppf(0.5 + level / 2, len(values) - 1))
    return mean, quantile * math.sqrt(variance / len(values))
