from itertools import pairwise

import pytest

from rewarm.schedules.shapes import (
    DECAYS,
    check_floor,
    cosine,
    exponential,
    inverse_sqrt,
    linear,
    one_minus_sqrt,
    update_number,
)

CURVES = {**DECAYS, "cosine": cosine, "inverse-sqrt": lambda *ends: inverse_sqrt(*ends, 10.0)}


def test_values_by_hand() -> None:
    assert linear(10.0, 2.0, 0.25) == 8.0
    assert cosine(10.0, 2.0, 0.5) == pytest.approx(6.0)
    assert cosine(1.0, 0.0, 1 / 3) == pytest.approx(0.75)
    assert one_minus_sqrt(10.0, 2.0, 0.25) == 6.0
    assert one_minus_sqrt(1.0, 0.0, 0.64) == pytest.approx(0.2)
    assert exponential(100.0, 1.0, 0.5) == pytest.approx(10.0)
    assert exponential(8.0, 1.0, 1 / 3) == pytest.approx(4.0)


def test_inverse_sqrt_by_hand() -> None:
    # timescale 3: f(1) = 1/2 - 1; at 5/12, f = 1/1.5 - 1 = -1/3, two thirds of the way.
    assert inverse_sqrt(3.0, 0.0, 5 / 12, 3.0) == pytest.approx(1.0)
    # A small timescale is a straight line, a large one falls at once: f(8 / 9999) = -2/3, f(1) = -0.99.
    assert inverse_sqrt(1.0, 0.0, 0.5, 1e-6) == pytest.approx(0.5, abs=1e-6)
    assert inverse_sqrt(1.0, 0.0, 8 / 9999, 9999.0) == pytest.approx(1 - (2 / 3) / 0.99)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize(("start", "end"), [(3e-4, 3e-5), (1.65e-4, 3.3e-7), (0.1, 0.3)])
def test_both_ends_are_exact(name: str, start: float, end: float) -> None:
    assert CURVES[name](start, end, 0.0) == start
    assert CURVES[name](start, end, 1.0) == end


@pytest.mark.parametrize("name", CURVES)
def test_curves_fall_all_the_way(name: str) -> None:
    values = [CURVES[name](3e-4, 3e-5, step / 100) for step in range(101)]
    assert all(later < earlier for earlier, later in pairwise(values))


def test_updates_count_from_one() -> None:
    assert update_number(0, 3) == 1
    assert update_number(2, 3) == 3


def test_an_exponential_decay_needs_a_floor() -> None:
    with pytest.raises(ValueError, match="never reaches a floor of 0"):
        check_floor("exponential", 0.0)
    check_floor("exponential", 1e-6)
    check_floor("linear", 0.0)
