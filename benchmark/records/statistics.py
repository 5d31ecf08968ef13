"""Statistics of repeated measurements."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

LEAST_PAIRS = 3  # fewer repeats say too little of how much repeats differ
LEVEL = 0.05
POWER = 0.8


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None]:
    """Mean, and half the width of Student's t interval; None where one value gives none.

    The interval covers what was varied between the values: the student's seed, and the draw of
    the images where there are several. The test set is the same for all.
    """
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    from scipy import special  # takes most of a second

    quantile = float(special.stdtrit(len(values) - 1, 0.5 + level / 2))
    return mean, quantile * math.sqrt(variance / len(values))


@dataclass(frozen=True)
class Paired:
    """Two methods, measured alike several times.

    Attributes:
        n: repeats that both have: same seed of the student, same draw of the images.
        difference: mean accuracy of the first minus that of the second, 0..1; None without a pair.
        half: half of its 95 % t interval over repeats.
        p_repeats: of the paired t test over repeats: would other seeds show it too?
        p_images: of the paired t test over test images, each image's correctness averaged over
            repeats: would other test images show it too?
        p: the larger of both, so a difference counts only if either test finds it; corrected
            for all pairs of the comparison by `corrected`. None where n is too small.
    """

    n: int
    difference: float | None = None
    half: float | None = None
    p_repeats: float | None = None
    p_images: float | None = None
    p: float | None = None

    @property
    def detectable(self) -> float | None:
        """The difference, 0..1, that so many repeats would show four times out of five.

        At 5 %, by the t test over repeats, before the correction for many; None where n is too
        small.
        """
        if self.n < LEAST_PAIRS or self.half is None:
            return None
        from scipy import special

        shown, power = (float(special.stdtrit(self.n - 1, q)) for q in (1 - LEVEL / 2, POWER))
        return self.half * (1 + power / shown)

    @property
    def differ(self) -> bool:
        """Whether the two are shown to differ."""
        return self.p is not None and self.p < LEVEL

    @property
    def turned(self) -> "Paired":
        """The second against the first."""
        return self if self.difference is None else replace(self, difference=-self.difference)


def over_draws(values: np.ndarray, draws: Sequence[int]) -> np.ndarray:
    """The mean of each draw of the images, where there are at least three; else what is given.

    Seeds of the student on the same images are no repeats of a draw: draws matter more, and one
    that has more seeds must not count for more. Of fewer draws seeds alone say how much repeats
    differ.

    Args:
        values: (n, ...).
        draws: the draw of each.
    """
    if not count_draws(draws):
        return values
    of = np.asarray(draws)
    return np.stack([values[of == draw].mean(0) for draw in sorted(set(draws))])


def count_draws(draws: Collection[int]) -> bool:
    """Whether repeats are the draws of the images themselves; see `over_draws`."""
    return LEAST_PAIRS <= len(set(draws)) < len(draws)


def paired(first: np.ndarray, second: np.ndarray, draws: Sequence[int] = ()) -> Paired:
    """Compare two methods that were measured in the same ways.

    Args:
        first, second: which test images were right, booleans (n, test images).
        draws: of the images, one for each of the n; see `over_draws`.
    """
    if not len(first):
        return Paired(0)
    gaps = over_draws(np.subtract(first, second, dtype=np.int8), draws or [0] * len(first))
    n = len(gaps)
    over_repeats = gaps.mean(1)
    difference, half = mean_interval(over_repeats.tolist())
    p_images = _p(gaps.mean(0))
    if n < LEAST_PAIRS:
        return Paired(n, difference, half, p_images=p_images)
    p_repeats = _p(over_repeats)
    return Paired(n, difference, half, p_repeats, p_images, max(p_repeats, p_images))


def corrected(p_values: Sequence[float]) -> list[float]:
    """p values corrected for being many, by Benjamini and Hochberg (1995).

    Of all differences that are then called shown, at most one in twenty is expected to be none,
    unless tests depend on each other negatively (Benjamini and Yekutieli, 2001).
    """
    from scipy import stats

    return stats.false_discovery_control(p_values, method="bh").tolist() if p_values else []


def _p(gaps: np.ndarray) -> float:
    """Two-sided, of the t test that the mean gap is 0; gaps that are all equal leave no doubt, and
    one alone leaves all.

    As SciPy's `ttest_1samp`, which takes a hundred times as long for what is done here for every
    pair of rows.
    """
    n, mean = len(gaps), float(gaps.mean())
    if n < 2:
        return 1.0
    deviations = gaps - mean
    error = math.sqrt(deviations @ deviations / (n - 1) / n)
    if error < 1e-12:
        return float(abs(mean) < 1e-12)
    from scipy import special

    return float(2 * special.stdtr(n - 1, -abs(mean) / error))
