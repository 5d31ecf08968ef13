import numpy as np
import pytest
from scipy import stats

from benchmark.records.statistics import Paired, corrected, mean_interval, paired

FIRST = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], bool)
SECOND = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], bool)


def test_an_interval_by_hand():
    # Sample standard deviation 1; t(0.975, 2) = 4.302653, over the root of 3.
    mean, half = mean_interval([0.5, 1.5, 2.5])
    assert mean == 1.5
    assert half == pytest.approx(2.484138, abs=1e-6)


def test_another_level():
    # t(0.95, 1) = 6.313752, deviation 2 / sqrt(2), over the root of 2.
    assert mean_interval([1, 3], level=0.9)[1] == pytest.approx(6.313752, abs=1e-6)


def test_equal_values_have_no_width():
    assert mean_interval([0.25, 0.25, 0.25]) == (0.25, 0.0)


def test_one_value_has_no_interval():
    assert mean_interval([0.7]) == (0.7, None)


def test_a_pair_by_hand():
    pair = paired(FIRST, SECOND)
    # Over repeats the gaps are 1/2, 1/4, 3/4: deviation 1/4, error 0.144338, t = 3.464102.
    # With 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2).
    assert (pair.n, pair.difference) == (3, 0.5)
    assert pair.half == pytest.approx(4.302653 * 0.144338, abs=1e-5)
    assert pair.p_repeats == pytest.approx(0.074180, abs=1e-6)
    # Over images they are 1/3, 2/3, 2/3, 1/3: deviation sqrt(1/27), t = 5.196152. With 3 degrees
    # of freedom and x = t / sqrt(3) = 3, p = 1 - 2 / pi * (atan(x) + x / (1 + x^2)).
    assert pair.p_images == pytest.approx(0.013847, abs=1e-6)
    assert pair.p == pair.p_repeats  # the larger: both must find it
    assert not pair.differ


def test_a_pair_the_other_way_round():
    one, two = paired(FIRST, SECOND), paired(SECOND, FIRST)
    assert two.difference == -0.5
    assert (one.half, one.p_repeats, one.p_images) == (two.half, two.p_repeats, two.p_images)


def test_both_tests_are_scipys():
    draw = np.random.Generator(np.random.PCG64(0))
    first, second = draw.random((5, 300)) < 0.6, draw.random((5, 300)) < 0.5
    pair = paired(first, second)
    repeats = stats.ttest_rel(first.mean(1), second.mean(1)).pvalue
    images = stats.ttest_rel(first.mean(0), second.mean(0)).pvalue
    assert pair.p_repeats == pytest.approx(float(repeats), rel=1e-9)
    assert pair.p_images == pytest.approx(float(images), rel=1e-9)


def test_few_repeats_are_never_enough():
    pair = paired(FIRST[:2], SECOND[:2])
    assert (pair.n, pair.p_repeats, pair.p) == (2, None, None)
    assert pair.difference == 0.375
    assert not pair.differ
    assert paired(FIRST[:0], SECOND[:0]) == Paired(0)


def test_gaps_that_are_all_equal():
    alike = paired(FIRST, FIRST)
    assert (alike.difference, alike.p, alike.differ) == (0.0, 1.0, False)
    apart = paired(np.ones((3, 4), bool), np.zeros((3, 4), bool))
    assert (apart.difference, apart.p, apart.differ) == (1.0, 0.0, True)
    assert not paired(np.ones((3, 1), bool), np.zeros((3, 1), bool)).differ  # one test image


def test_the_correction_by_hand():
    # Sorted 0.01, 0.03, 0.04, 0.5, times 4/1, 4/2, 4/3, 4/4: 0.04, 0.06, 0.0533, 0.5; and none
    # may be above one that follows.
    expected = [0.5, 0.16 / 3, 0.04, 0.16 / 3]
    assert corrected([0.5, 0.04, 0.01, 0.03]) == pytest.approx(expected)
    assert corrected([]) == []


def test_the_detectable_difference_is_found_four_times_out_of_five():
    """By trial: normal gaps whose mean is what is said to be detectable."""
    found = paired(*_gaps(0.3, 6))
    assert found.detectable is not None
    assert found.half is not None
    deviation = found.half / stats.t.ppf(0.975, 5) * np.sqrt(6)
    generator = np.random.default_rng(0)
    drawn = generator.normal(found.detectable, deviation, (4000, 6))
    p_values = np.asarray(stats.ttest_1samp(drawn, 0, axis=1)[1])
    shown = (p_values < 0.05).mean()
    assert shown == pytest.approx(0.8, abs=0.06)
    assert paired(*_gaps(0.3, 2)).detectable is None


def _gaps(share, n):
    """Two methods whose accuracies differ by other amounts in each of n repeats."""
    generator = np.random.default_rng(1)
    first = generator.random((n, 200)) < 0.5 + share * generator.random((n, 1))
    return first, generator.random((n, 200)) < 0.5
