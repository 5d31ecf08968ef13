import math

import numpy as np
import pytest
from present import present
from scipy.interpolate import PchipInterpolator

from benchmark.records.bjontegaard import Point, _cubic, delta, reaches, saving


def curve(*points, repeats=1, noise=0.0):
    """Of (bytes, accuracy); repeats differ by steps of the noise."""
    return [
        Point(size, {(draw, 0): accuracy + noise * draw for draw in range(repeats)})
        for size, accuracy in points
    ]


BASE = curve((1000, 0.40), (2000, 0.46), (4000, 0.50), (8000, 0.52))


def test_half_the_bytes_everywhere_is_minus_fifty_per_cent():
    found = delta(curve((500, 0.40), (1000, 0.46), (2000, 0.50), (4000, 0.52)), BASE)
    assert found.bytes == pytest.approx(-0.5)
    assert found.bytes_interval is None  # one repeat
    assert (found.repeats, found.why_no_bytes, found.why_no_points) == (1, "", "")


def test_three_points_more_everywhere_are_three_points():
    found = delta(curve((1000, 0.43), (2000, 0.49), (4000, 0.53), (8000, 0.55)), BASE)
    assert found.points == pytest.approx(0.03)
    assert present(found.bytes) < 0


def test_straight_lines_that_cross_are_worked_out_by_hand():
    """Over 1,000 to 4,000 bytes, 40 to 50 % against 42 to 46 %: -2 points to +4, evenly."""
    ours = curve((1000, 0.40), (2000, 0.45), (4000, 0.50))
    theirs = curve((1000, 0.42), (2000, 0.44), (4000, 0.46))
    found = delta(ours, theirs)
    assert found.points == pytest.approx(0.01)
    # Of 42 to 46 % log2 of ours is 0.4 to 1.2, theirs 0 to 2: -0.2 in the mean.
    assert found.bytes == pytest.approx(2**-0.2 - 1)
    back = delta(theirs, ours)
    assert back.points == pytest.approx(-0.01)
    assert (1 + present(back.bytes)) * (1 + present(found.bytes)) == pytest.approx(1)


def test_only_the_range_that_both_have_counts():
    shifted = curve((2000, 0.46), (4000, 0.50), (64000, 0.60))
    assert delta(shifted, BASE).points == pytest.approx(0, abs=0.01)
    far = delta(curve((10**6, 0.7), (10**7, 0.8)), BASE)
    assert (far.bytes, far.points) == (None, None)
    assert far.why_no_bytes == "no accuracy in common: 70.0 to 80.0 % against 40.0 to 52.0 %"
    assert far.why_no_points == (
        "no bytes in common: 1,000,000 to 10,000,000 B against 1,000 to 8,000 B"
    )
    higher = delta(curve((1000, 0.6), (8000, 0.7)), BASE)  # the same bytes, never as bad
    assert higher.bytes is None
    assert higher.why_no_points == ""
    assert higher.why_no_bytes == "no accuracy in common: 60.0 to 70.0 % against 40.0 to 52.0 %"
    assert higher.points == pytest.approx(0.18, abs=0.01)


def test_points_that_more_bytes_make_worse_are_left_out():
    worse = [*BASE, *curve((3000, 0.30), (5000, 0.10))]
    assert delta(worse, BASE).bytes == pytest.approx(0)
    assert delta(list(reversed(worse)), BASE).bytes == pytest.approx(0)


def test_one_point_is_no_curve():
    found = delta(curve((1000, 0.4)), BASE)
    assert found.bytes is None
    assert (
        found.why_no_bytes == found.why_no_points == "fewer than two points that rise: 1 against 4"
    )
    falling = delta(curve((1000, 0.5), (2000, 0.4)), BASE)
    assert falling.why_no_bytes == "fewer than two points that rise: 1 against 4"


def test_repeats_are_paired():
    """Repeats far apart, but alike in both, leave no doubt of the difference."""
    ours = curve((1000, 0.33), (2000, 0.39), (8000, 0.45), repeats=5, noise=0.03)
    theirs = curve((1000, 0.30), (2000, 0.36), (8000, 0.42), repeats=5, noise=0.03)
    found = delta(ours, theirs)
    assert found.repeats == 5
    assert found.points_interval == pytest.approx((0.03, 0.03))
    low, high = present(found.bytes_interval)
    assert low <= present(found.bytes) <= high < 0


def test_an_interval_covers_what_repeats_say():
    ours = [
        Point(size, {(d, 0): mean + step for d, step in enumerate([-0.02, 0.0, 0.04])})
        for size, mean in ((1000, 0.42), (4000, 0.5))
    ]
    found = delta(ours, curve((1000, 0.40), (4000, 0.48), repeats=3))
    low, high = present(found.points_interval)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high == pytest.approx(0.06)
    assert found.points == pytest.approx(0.02 + 0.02 / 3)


def test_without_a_shared_repeat_there_is_nothing():
    ours = [Point(1000, {(0, 0): 0.4}), Point(2000, {(1, 0): 0.5})]
    assert delta(ours, BASE).why_no_bytes == "no repeat in common"


def test_bytes_at_which_an_accuracy_is_reached():
    straight = curve((1000, 0.40), (2000, 0.45), (4000, 0.50))
    assert reaches(straight, 0.475) == pytest.approx(1000 * 2**1.5)
    assert reaches(straight, 0.2) == pytest.approx(1000)
    assert reaches(straight, 0.51) is None
    assert reaches(curve((700, 0.4)), 0.4) == pytest.approx(700)
    assert math.isclose(present(reaches(straight, 0.5)), 4000)


def test_where_only_bytes_are_shared_their_points_keep_an_interval():
    higher = curve((1000, 0.6), (8000, 0.7), repeats=4)
    found = delta(higher, curve((1000, 0.4), (8000, 0.5), repeats=4))
    assert (found.bytes, found.bytes_interval) == (None, None)
    assert found.points_interval == pytest.approx((0.2, 0.2))


HARD, SOFT = curve((500, 0.3))[0], curve((100_000, 0.5))[0]


def test_a_saving_is_worked_out_by_hand():
    """75 % of 30 to 50 % is 45 %, at 2,000 bytes of a straight line: a fiftieth of 100,000."""
    found = saving(curve((1000, 0.40), (2000, 0.45), (4000, 0.50)), HARD, SOFT, 0.75)
    assert found.bytes == pytest.approx(-0.98)
    assert found.reached == pytest.approx(1.0)
    assert (found.at_least, found.interval, found.why_not) == (False, None, "")


def test_the_fewest_bytes_measured_save_at_least_so_much():
    found = saving(curve((1000, 0.49), (2000, 0.5)), HARD, SOFT, 0.75)
    assert found.at_least
    assert found.bytes == pytest.approx(-0.99)


def test_what_is_not_reached_says_how_far_it_comes():
    found = saving(curve((1000, 0.40), (2000, 0.44)), HARD, SOFT, 0.95)
    assert (found.bytes, found.why_not) == (None, "not reached: 70 % at most")
    assert saving(BASE, SOFT, HARD, 0.95).why_not == "all labels bring nothing over hard ones"
    other = Point(100_000, {(7, 7): 0.5})
    assert saving(BASE, HARD, other, 0.95).why_not == "no repeat in common"


def test_resamples_that_never_reach_it_leave_the_saving_open_above():
    repeats = {(d, 0): 0.3 for d in range(5)}, {(d, 0): 0.5 for d in range(5)}
    hard, soft = Point(500, repeats[0]), Point(100_000, repeats[1])
    sure = saving(curve((1000, 0.40), (4000, 0.50), repeats=5), hard, soft, 0.75)
    assert sure.interval == pytest.approx((sure.bytes, sure.bytes))
    steps = [0.06, 0.03, 0.0, -0.03, -0.055]
    weak = [
        Point(size, {(d, 0): mean + step for d, step in enumerate(steps)})
        for size, mean in ((1000, 0.40), (4000, 0.455))
    ]
    low, high = present(saving(weak, hard, soft, 0.75).interval)
    assert -1 < low < -0.96
    assert high == math.inf


def test_the_cubic_is_scipys():
    random = np.random.default_rng(0)
    for count in (2, 3, 4, 7):
        for _ in range(20):
            x, y = np.cumsum(random.random(count) + 0.01), random.normal(size=count)
            ours, theirs = _cubic(x, y), PchipInterpolator(x, y)
            low, high = sorted(random.uniform(x[0], x[-1], 2).tolist())
            assert ours(low) == pytest.approx(float(theirs(low)), abs=1e-9)
            assert ours(x[-1]) == pytest.approx(y[-1])
            assert ours.integral(low, high) == pytest.approx(theirs.integrate(low, high), abs=1e-9)
