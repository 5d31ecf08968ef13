"""Bjøntegaard's delta: how many bytes one method saves over another, at equal accuracy.

G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves" (VCEG-M33, 2001), with
the piecewise cubic of his later "Improvements of the BD-PSNR model" (VCEG-AI11, 2008): curves of
accuracy over the logarithm of bytes are interpolated, and their mean distance over the range that
both have is taken, across for bytes and upwards for accuracy.

A curve here is what a budget buys: of its points those that are better than all that take fewer
bytes. Interpolation keeps it rising (Fritsch and Carlson's, as SciPy has it).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .ranking import Repeat
from .statistics import LEAST_PAIRS

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

RESAMPLES = 400
ENOUGH = 0.95  # of the resamples must have a delta, or there is no interval


@dataclass(frozen=True)
class Point:
    """One setting of a method.

    Attributes:
        bytes: that it ships.
        accuracies: of each repeat, 0..1.
    """

    bytes: float
    accuracies: Mapping[Repeat, float]


@dataclass(frozen=True)
class Delta:
    """One curve against another.

    Attributes:
        bytes: mean change of bytes at equal accuracy, as a share: -0.5 takes half as many. None
            where the curves share no accuracy.
        bytes_interval: 95 %, of a bootstrap over repeats; None where there are too few.
        points: mean change of accuracy at equal bytes, 0..1; None where they share no bytes.
        points_interval: likewise.
        repeats: that all points of both have.
        why_not: why there is no delta; empty where there is one.
    """

    repeats: int
    bytes: float | None = None
    bytes_interval: tuple[float, float] | None = None
    points: float | None = None
    points_interval: tuple[float, float] | None = None
    why_not: str = ""


def delta(curve: Sequence[Point], other: Sequence[Point]) -> Delta:
    """A curve against another, over the repeats that all their points have.

    Intervals resample the repeats of both alike, since they are paired.
    """
    shared = sorted(set.intersection(*(set(p.accuracies) for p in [*curve, *other])))
    if not shared:
        return Delta(0, why_not="no repeat in common")
    ours, theirs = _matrix(curve, shared), _matrix(other, shared)

    def at(chosen: np.ndarray) -> tuple[float | None, float | None, str]:
        first, second = (_bought(b, a[:, chosen].mean(1)) for b, a in (ours, theirs))
        return _distances(first, second)

    every = np.arange(len(shared))
    across, up, why_not = at(every)
    if len(shared) < LEAST_PAIRS or why_not:
        return Delta(len(shared), across, None, up, None, why_not)
    drawn = np.random.default_rng(0).integers(0, len(shared), (RESAMPLES, len(shared)))
    found = [at(chosen) for chosen in drawn]
    across_interval = _interval([bytes_ for bytes_, _, _ in found])
    up_interval = _interval([points for _, points, _ in found])
    return Delta(len(shared), across, across_interval, up, up_interval)


def reaches(curve: Sequence[Point], accuracy: float) -> float | None:
    """Bytes at which a curve's mean reaches an accuracy; None where it never does.

    At the fewest bytes measured where these have it already.
    """
    shared = sorted(set.intersection(*(set(p.accuracies) for p in curve)))
    if not shared:
        return None
    logs, means = _bought(*_mean(curve, shared))
    if accuracy > means[-1]:
        return None
    if accuracy <= means[0] or len(means) == 1:
        return math.exp(logs[0])
    return math.exp(float(_cubic(means, logs)(accuracy)))


def _matrix(curve: Sequence[Point], repeats: Sequence[Repeat]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of bytes (points,), rising, and accuracies (points, repeats)."""
    ordered = sorted(curve, key=lambda point: point.bytes)
    logs = np.log([point.bytes for point in ordered])
    return logs, np.array([[point.accuracies[r] for r in repeats] for point in ordered])


def _mean(curve: Sequence[Point], repeats: Sequence[Repeat]) -> tuple[np.ndarray, np.ndarray]:
    logs, accuracies = _matrix(curve, repeats)
    return logs, accuracies.mean(1)


def _bought(logs: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that are better than all of fewer bytes."""
    best = np.maximum.accumulate(means)
    rising = np.concatenate([[True], means[1:] > best[:-1] + 1e-12])
    # Of equal bytes, the best.
    last = np.concatenate([logs[rising][1:] > logs[rising][:-1] + 1e-12, [True]])
    return logs[rising][last], means[rising][last]


def _distances(
    ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]
) -> tuple[float | None, float | None, str]:
    """Mean change of bytes, as a share, and of accuracy; and why there is none."""
    if min(len(ours[0]), len(theirs[0])) < 2:
        return None, None, "fewer than two points that rise"
    across = _between((ours[1], ours[0]), (theirs[1], theirs[0]))
    up = _between(ours, theirs)
    if across is None and up is None:
        return None, None, "no accuracy and no bytes in common"
    return None if across is None else math.expm1(across), up, ""


def _between(
    ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]
) -> float | None:
    """Mean of ours minus theirs, over the range of the first coordinate that both have."""
    low, high = max(ours[0][0], theirs[0][0]), min(ours[0][-1], theirs[0][-1])
    if high - low < 1e-9:
        return None
    return float(
        (_cubic(*ours).integrate(low, high) - _cubic(*theirs).integrate(low, high)) / (high - low)
    )


def _cubic(x: np.ndarray, y: np.ndarray) -> "PchipInterpolator":
    from scipy.interpolate import PchipInterpolator  # takes most of a second

    return PchipInterpolator(x, y)


def _interval(found: Sequence[float | None]) -> tuple[float, float] | None:
    values = [v for v in found if v is not None]
    if len(values) < ENOUGH * len(found):
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
