"""The frontier of learning rates, worked out by hand.

Sweep (old, new) in percent: (1, -5), (2, -8), (4, -10), and a rate too high that is worse on both, (20, -3).
"""

from __future__ import annotations

import math

import pytest

from rewarm.evaluation.frontier import Point, Standing, distance, frontier, over_seeds, shortfall, standing

SWEEP = [Point(1, -5), Point(2, -8), Point(4, -10), Point(20, -3)]


def shifted(by: float) -> list[Point]:
    return [Point(point.old + by, point.new) for point in SWEEP]


def test_a_learning_rate_that_is_worse_on_both_is_no_part_of_the_frontier() -> None:
    assert frontier(SWEEP) == [Point(4, -10), Point(2, -8), Point(1, -5)]


def test_a_learning_rate_that_diverged_is_no_part_of_the_frontier() -> None:
    assert frontier([Point(math.inf, math.inf), Point(1, -5), Point(math.nan, -20)]) == [Point(1, -5)]


def test_distance_is_the_old_change_at_equal_new_change() -> None:
    """At -9 the frontier lies half-way between 4 and 2, at -6 a third of the way from 1 to 2."""
    assert distance(Point(2.5, -9), SWEEP) == pytest.approx(2.5 - 3)
    assert distance(Point(2, -6), SWEEP) == pytest.approx(2 - 4 / 3)
    assert distance(Point(2, -8), SWEEP) == 0


@pytest.mark.parametrize(("old", "new"), [(5, -10.01), (4, -11), (0, -4.99), (1, -3), (0, math.inf), (0, math.nan)])
def test_there_is_no_distance_beyond_the_sweep(old: float, new: float) -> None:
    """More learned and more forgotten than at any rate, or less of both: what a rate between would do is not known."""
    assert distance(Point(old, new), SWEEP) is None
    assert distance(Point(0, -5), []) is None


def test_what_is_better_or_worse_than_every_rate_has_the_least_distance_it_can_have() -> None:
    """More learned than by the rate that learned most, (4, -10), and less forgotten; less learned than by the gentlest,
    (1, -5), and more forgotten."""
    assert distance(Point(3, -12), SWEEP) == 3 - 4
    assert distance(Point(1.5, -3), SWEEP) == 1.5 - 1


def test_values_tried_are_sorted_by_what_they_gain() -> None:
    """Beyond the sweep: -2 learns 3 less than the end (1, -5) and forgets 1 less; -12 learns 2 more than (4, -10) and
    forgets 1 more."""
    assert shortfall(Point(2.5, -9), SWEEP) == (False, pytest.approx(-0.5))
    assert shortfall(Point(0, -2), SWEEP) == (True, pytest.approx(2))
    assert shortfall(Point(3, -12), SWEEP) == (False, -1)
    assert shortfall(Point(5, -12), SWEEP) == (True, pytest.approx(-1))
    assert shortfall(Point(math.inf, math.inf), SWEEP) == (True, math.inf)


def test_interval_over_seeds_is_students() -> None:
    """Of 1, 2, 3: mean 2, standard deviation 1, so 4.303 / sqrt(3) on each side."""
    half = 4.303 / math.sqrt(3)
    assert over_seeds([1, 2, 3]) == pytest.approx((2, 2 - half, 2 + half))


def test_interval_of_one_seed_is_unbounded_and_of_one_that_diverged_infinite() -> None:
    assert over_seeds([1]) == (1, -math.inf, math.inf)
    assert over_seeds([1, math.nan]) == (math.inf, math.inf, math.inf)
    with pytest.raises(ValueError, match="at least one"):
        over_seeds([])


def test_the_quantile_goes_on_smoothly_beyond_the_table() -> None:
    """The 97.5 % quantiles for 30, 31 and 40 degrees of freedom are 2.042, 2.040 and 2.021."""
    for seeds, quantile in [(31, 2.042), (32, 2.040), (41, 2.021)]:
        values = [0.0] * (seeds - 1) + [1.0]
        deviation = math.sqrt((1 - 1 / seeds) / (seeds - 1))
        mean, _, high = over_seeds(values)
        assert (high - mean) / (deviation / math.sqrt(seeds)) == pytest.approx(quantile, abs=0.005)


def test_a_method_that_forgets_less_in_every_seed_beats_the_frontier() -> None:
    """Each seed has a sweep of its own; the distances are -1.0, -1.1 and -0.9 though the points lie up to 5 apart."""
    sweeps = [shifted(0), shifted(5), shifted(2)]
    points = [Point(1, -8), Point(5.9, -8), Point(3.1, -8)]
    half = 4.303 * 0.1 / math.sqrt(3)
    found = standing(points, sweeps)
    assert found.verdict == "beats"
    assert (found.distance, found.low, found.high) == pytest.approx((-1, -1 - half, -1 + half))


def test_a_method_behind_the_frontier_and_one_on_it() -> None:
    sweeps = [SWEEP] * 3
    assert standing([Point(3, -8), Point(3.1, -8), Point(2.9, -8)], sweeps).verdict == "behind"
    on = standing([Point(3, -8), Point(1, -8), Point(2, -8)], sweeps)
    assert (on.verdict, on.distance) == ("on", pytest.approx(0))


def test_one_seed_decides_nothing() -> None:
    assert standing([Point(0, -8)], [SWEEP]) == Standing("on", -2, -math.inf, math.inf)


def test_one_seed_beyond_its_sweep_is_enough_to_say_so() -> None:
    assert standing([Point(0, -8), Point(0, -4)], [SWEEP, SWEEP]) == Standing("beyond the sweep")
