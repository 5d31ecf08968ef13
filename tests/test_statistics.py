import pytest

from benchmark.statistics import mean_interval


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
