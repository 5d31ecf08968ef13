"""Bjøntegaard's delta: how many bytes one method saves over another, at equal accuracy.

G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves" (VCEG-M33, 2001), with
the piecewise cubic of his later "Improvements of the BD-PSNR model" (VCEG-AI11, 2008): curves of
accuracy over the logarithm of bytes are interpolated, and their mean distance over the range that
both have is taken, across for bytes and upwards for accuracy.

A curve here is what a budget buys: of its points those that are better than all that take fewer
bytes. Interpolation keeps it rising (Fritsch and Carlson's, as SciPy has it).
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .ranking import Repeat
from .statistics import LEAST_PAIRS

RESAMPLES = 400
NO_REPEAT = "no repeat in common"
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
        bytes_interval: 95 %, of a bootstrap over repeats; None where there are too few, or where
            more than one resample in twenty has no delta (the others are left out).
        points: mean change of accuracy at equal bytes, 0..1; None where they share no bytes.
        points_interval: likewise.
        repeats: that all points of both have.
        why_no_bytes: why there is no change of bytes, with the ranges that both curves cover,
            this one's first; empty where there is one.
        why_no_points: likewise.
    """

    repeats: int
    bytes: float | None = None
    bytes_interval: tuple[float, float] | None = None
    points: float | None = None
    points_interval: tuple[float, float] | None = None
    why_no_bytes: str = ""
    why_no_points: str = ""


def delta(curve: Sequence[Point], other: Sequence[Point]) -> Delta:
    """A curve against another, over the repeats that all their points have.

    Intervals resample the repeats of both alike, since they are paired.
    """
    shared = sorted(set.intersection(*(set(p.accuracies) for p in [*curve, *other])))
    if not shared:
        return Delta(0, why_no_bytes=NO_REPEAT, why_no_points=NO_REPEAT)
    ours, theirs = _matrix(curve, shared), _matrix(other, shared)

    def at(chosen: np.ndarray) -> tuple[float | None, float | None, tuple[str, str]]:
        first, second = (_bought(b, a[:, chosen].mean(1)) for b, a in (ours, theirs))
        return _distances(first, second)

    every = np.arange(len(shared))
    across, up, why_not = at(every)
    if len(shared) < LEAST_PAIRS:
        return Delta(len(shared), across, None, up, None, *why_not)
    found = [at(chosen) for chosen in _resamples(len(shared))]
    across_interval = _interval([bytes_ for bytes_, _, _ in found]) if across is not None else None
    up_interval = _interval([points for _, points, _ in found]) if up is not None else None
    return Delta(len(shared), across, across_interval, up, up_interval, *why_not)


@dataclass(frozen=True)
class Saving:
    """Bytes that a curve saves over all labels, which are a single point.

    Attributes:
        bytes: change of bytes at the setting where the curve's mean reaches the share of what all
            labels bring over hard ones: -0.9 takes a tenth of all labels' bytes. None where it
            never does.
        interval: 95 %, of a bootstrap over repeats; infinite above where a resample of those that
            it spans never reaches it. None where there are too few repeats.
        at_least: whether the fewest bytes measured reach it already, so it saves at least these.
        reached: the most of what all labels bring that the curve has, as a share.
        why_not: why there are no bytes; empty where there are.
    """

    bytes: float | None = None
    interval: tuple[float, float] | None = None
    at_least: bool = False
    reached: float | None = None
    why_not: str = ""


def saving(curve: Sequence[Point], floor: Point, full: Point, share: float) -> Saving:
    """Bytes a curve saves over `full` at `share` of the way from `floor`, by their means.

    Over the repeats that all of them have; intervals resample the repeats of all alike.
    """
    every = [*curve, floor, full]
    shared = sorted(set.intersection(*(set(point.accuracies) for point in every)))
    if not shared:
        return Saving(why_not=NO_REPEAT)
    logs, ours = _matrix(curve, shared)
    low, high = (np.array([p.accuracies[r] for r in shared]) for p in (floor, full))

    def at(chosen: np.ndarray) -> tuple[float | None, float, bool]:
        """Change of bytes, the share reached, and whether the fewest bytes reach enough."""
        bought = _bought(logs, ours[:, chosen].mean(1))
        hard, soft = low[chosen].mean(), high[chosen].mean()
        wanted = hard + share * (soft - hard)
        found = _reaches(*bought, wanted)
        reached = float((bought[1][-1] - hard) / (soft - hard)) if soft > hard else math.inf
        return found and found / full.bytes - 1, reached, bool(wanted <= bought[1][0])

    if high.mean() <= low.mean():
        return Saving(why_not="all labels bring nothing over hard ones")
    bytes_, reached, at_least = at(np.arange(len(shared)))
    if bytes_ is None:
        return Saving(reached=reached, why_not=f"not reached: {100 * reached:.0f} % at most")
    interval = None
    if len(shared) >= LEAST_PAIRS:
        values = [at(chosen)[0] for chosen in _resamples(len(shared))]
        # In order, never between two: one of them may be infinite.
        ends = np.quantile(
            [math.inf if value is None else value for value in values],
            [0.025, 0.975],
            method="inverted_cdf",
        )
        interval = float(ends[0]), float(ends[1])
    return Saving(bytes_, interval, at_least, reached)


def _resamples(repeats: int) -> np.ndarray:
    """Places of repeats, drawn with replacement, (RESAMPLES, repeats); the same at every call."""
    return np.random.default_rng(0).integers(0, repeats, (RESAMPLES, repeats))


def reaches(curve: Sequence[Point], accuracy: float) -> float | None:
    """Bytes at which a curve's mean reaches an accuracy; None where it never does.

    At the fewest bytes measured where these have it already.
    """
    shared = sorted(set.intersection(*(set(p.accuracies) for p in curve)))
    if not shared:
        return None
    logs, accuracies = _matrix(curve, shared)
    return _reaches(*_bought(logs, accuracies.mean(1)), accuracy)


def _reaches(logs: np.ndarray, means: np.ndarray, accuracy: float) -> float | None:
    """Bytes at which what a budget buys reaches an accuracy."""
    if accuracy > means[-1]:
        return None
    if accuracy <= means[0] or len(means) == 1:
        return math.exp(logs[0])
    return math.exp(_cubic(means, logs)(accuracy))


def _matrix(curve: Sequence[Point], repeats: Sequence[Repeat]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of bytes (points,), rising, and accuracies (points, repeats)."""
    ordered = sorted(curve, key=lambda point: point.bytes)
    logs = np.log([point.bytes for point in ordered])
    return logs, np.array([[point.accuracies[r] for r in repeats] for point in ordered])


def _bought(logs: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that are better than all of fewer bytes."""
    best = np.maximum.accumulate(means)
    rising = np.concatenate([[True], means[1:] > best[:-1] + 1e-12])
    # Of equal bytes, the best.
    last = np.concatenate([logs[rising][1:] > logs[rising][:-1] + 1e-12, [True]])
    return logs[rising][last], means[rising][last]


def _distances(
    ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]
) -> tuple[float | None, float | None, tuple[str, str]]:
    """Mean change of bytes, as a share, and of accuracy; and why not."""
    counts = len(ours[0]), len(theirs[0])
    if min(counts) < 2:
        few = f"fewer than two points that rise: {counts[0]} against {counts[1]}"
        return None, None, (few, few)
    across = _between((ours[1], ours[0]), (theirs[1], theirs[0]))
    up = _between(ours, theirs)
    no_bytes = no_points = ""
    if across is None:
        ends = (f"{100 * a[0]:.1f} to {100 * a[-1]:.1f} %" for _, a in (ours, theirs))
        no_bytes = f"no accuracy in common: {' against '.join(ends)}"
    if up is None:
        sizes = (np.exp(logs) for logs, _ in (ours, theirs))
        ends = (f"{b[0]:,.0f} to {b[-1]:,.0f} B" for b in sizes)
        no_points = f"no bytes in common: {' against '.join(ends)}"
    return None if across is None else math.expm1(across), up, (no_bytes, no_points)


def _between(
    ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]
) -> float | None:
    """Mean of ours minus theirs, over the range of the first coordinate that both have."""
    low, high = max(ours[0][0], theirs[0][0]), min(ours[0][-1], theirs[0][-1])
    if high - low < 1e-9:
        return None
    return float(
        (_cubic(*ours).integral(low, high) - _cubic(*theirs).integral(low, high)) / (high - low)
    )


@dataclass(frozen=True)
class _Cubic:
    """Fritsch and Carlson's cubic, which rises where the points rise.

    The slopes are those of SciPy's `PchipInterpolator`, which takes a hundred times as long for
    the few points of a curve, and a bootstrap makes thousands of these.
    """

    x: Sequence[float]
    y: Sequence[float]
    slopes: Sequence[float]

    def __call__(self, at: float) -> float:
        """Its height within the points."""
        place = min(bisect_right(self.x, at), len(self.x) - 1) - 1
        a, b, c = self._powers(place)
        t = at - self.x[place]
        return self.y[place] + t * (a + t * (b + t * c))

    def integral(self, low: float, high: float) -> float:
        """From `low` to `high`, both within the points."""
        total = 0.0
        for place, (left, right) in enumerate(pairwise(self.x)):
            if left < high and right > low:
                a, b, c = self._powers(place)
                for t, sign in ((min(high, right) - left, 1), (max(low, left) - left, -1)):
                    total += sign * t * (self.y[place] + t * (a / 2 + t * (b / 3 + t * c / 4)))
        return total

    def _powers(self, place: int) -> tuple[float, float, float]:
        """Of one piece: what its distance from the left, squared and cubed are multiplied by."""
        wide = self.x[place + 1] - self.x[place]
        rise = (self.y[place + 1] - self.y[place]) / wide
        first, last = self.slopes[place : place + 2]
        return first, (3 * rise - 2 * first - last) / wide, (first + last - 2 * rise) / wide**2


def _cubic(x: np.ndarray, y: np.ndarray) -> _Cubic:
    xs, ys = x.tolist(), y.tolist()
    wide = [right - left for left, right in pairwise(xs)]
    rise = [(b - a) / w for (a, b), w in zip(pairwise(ys), wide, strict=True)]
    if len(rise) == 1:
        return _Cubic(xs, ys, [rise[0], rise[0]])
    inner = []
    for (w0, w1), (r0, r1) in zip(pairwise(wide), pairwise(rise), strict=True):
        one, two = w0 + 2 * w1, 2 * w0 + w1
        inner.append((one + two) / (one / r0 + two / r1) if r0 * r1 > 0 else 0.0)
    first = _end(wide[0], wide[1], rise[0], rise[1])
    return _Cubic(xs, ys, [first, *inner, _end(wide[-1], wide[-2], rise[-1], rise[-2])])


def _end(wide: float, next_wide: float, rise: float, next_rise: float) -> float:
    """The slope at an end: of three points, without overshooting."""
    slope = ((2 * wide + next_wide) * rise - wide * next_rise) / (wide + next_wide)
    if slope * rise <= 0:
        return 0.0
    return 3 * rise if rise * next_rise < 0 and abs(slope) > 3 * abs(rise) else slope


def _interval(found: Sequence[float | None]) -> tuple[float, float] | None:
    values = [v for v in found if v is not None]
    if len(values) < ENOUGH * len(found):
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
