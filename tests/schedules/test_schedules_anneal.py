import pytest

from rewarm.methods import build
from rewarm.schedules.anneal import Anneal
from rewarm.types import StreamState, UserError

TRUNK = StreamState(stage=1, steps_before=10_000, last_rate=1e-3)


def test_exponential_by_hand() -> None:
    # From 1e-3 to 1e-5 in four updates: half a decade each.
    rates = [Anneal(floor=0.01).rate(step, 4, 1e-3, TRUNK) for step in range(4)]
    assert rates == pytest.approx([3.16228e-4, 1e-4, 3.16228e-5, 1e-5], rel=1e-5)


def test_linear_by_hand() -> None:
    rates = [Anneal(shape="linear").rate(step, 3, 1e-3, TRUNK) for step in range(3)]
    assert rates == pytest.approx([7e-4, 4e-4, 1e-4])


def test_one_minus_sqrt_by_hand() -> None:
    # sqrt(1/4) = 1/2, sqrt(2/4) = 0.70711, sqrt(3/4) = 0.86603.
    rates = [Anneal(shape="one-minus-sqrt", floor=0).rate(step, 4, 1.0, StreamState()) for step in range(4)]
    assert rates == pytest.approx([0.5, 0.292893, 0.133975, 0.0], abs=1e-6)


@pytest.mark.parametrize("shape", ["exponential", "linear", "one-minus-sqrt"])
def test_the_steps_before_do_not_stretch_the_anneal(shape: str) -> None:
    schedule = build("schedules", {"type": "anneal", "shape": shape})
    fresh = StreamState(stage=1, steps_before=0, last_rate=1e-3)
    for step in range(20):
        assert schedule.rate(step, 20, 1e-3, TRUNK) == schedule.rate(step, 20, 1e-3, fresh)
    assert schedule.rate(19, 20, 1e-3, TRUNK) == pytest.approx(1e-4, rel=1e-12)


def test_it_starts_from_the_last_rate_and_ends_at_a_share_of_the_peak() -> None:
    # From 4e-4 to 0.1 * 1e-3: the middle of the geometric line is the root of their product.
    past = StreamState(stage=1, steps_before=50, last_rate=4e-4)
    assert Anneal().rate(0, 2, 1e-3, past) == pytest.approx(2e-4)
    assert Anneal().rate(1, 2, 1e-3, past) == pytest.approx(1e-4)


def test_without_a_last_rate_it_starts_from_the_peak() -> None:
    assert Anneal(floor=0.01).rate(0, 2, 1e-3, StreamState()) == pytest.approx(1e-4)


def test_it_never_raises_the_rate() -> None:
    low = StreamState(stage=1, steps_before=50, last_rate=2e-5)
    high = StreamState(stage=1, steps_before=50, last_rate=1.0)
    assert [Anneal().rate(step, 3, 1e-3, low) for step in range(3)] == pytest.approx([2e-5] * 3)
    assert Anneal(shape="linear").rate(0, 3, 1e-3, high) == pytest.approx(7e-4)


def test_an_exponential_anneal_to_zero_is_refused() -> None:
    with pytest.raises(UserError, match="never reaches a floor of 0"):
        build("schedules", {"type": "anneal", "floor": 0})
    assert build("schedules", {"type": "anneal", "floor": 0, "shape": "linear"}) == Anneal(floor=0, shape="linear")
