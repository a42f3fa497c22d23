import pytest

from rewarm.schedules.infinite import Infinite
from rewarm.types import StreamState

START = StreamState()


def rate_at(schedule: Infinite, n: int) -> float:
    return schedule.rate(n - 1, 100, 3e-4, START)


def test_the_first_stage_warms_cools_and_stays() -> None:
    # W = 10, C = 60, eta_c = 0.55 * 3e-4 = 1.65e-4; half-way through the cooldown is the mean of the two.
    schedule = Infinite(warmup=0.1)
    assert rate_at(schedule, 5) == pytest.approx(1.5e-4)
    assert rate_at(schedule, 10) == 3e-4
    assert rate_at(schedule, 40) == pytest.approx(2.325e-4)
    assert rate_at(schedule, 69) > 1.65e-4
    assert [rate_at(schedule, n) for n in range(70, 101)] == pytest.approx([1.65e-4] * 31)


def test_inverse_sqrt_cooldown() -> None:
    # timescale 3, m / C = 25 / 60: f = 1 / 1.5 - 1, two thirds of f(1) = -1/2: 3e-4 - 2/3 * 1.35e-4.
    schedule = Infinite(warmup=0.1, cooldown_shape="inverse-sqrt", timescale=3)
    assert rate_at(schedule, 35) == pytest.approx(2.1e-4)
    assert rate_at(schedule, 70) == pytest.approx(1.65e-4)
    # It falls faster than the cosine at first.
    assert rate_at(schedule, 20) < rate_at(Infinite(warmup=0.1), 20)


def test_later_stages_are_constant_from_the_first_step() -> None:
    past = StreamState(stage=1, steps_before=100, last_rate=1.65e-4)
    rates = [Infinite(warmup=0.1).rate(step, 50, 3e-4, past) for step in range(50)]
    assert rates == pytest.approx([1.65e-4] * 50)
    assert len(set(rates)) == 1


def test_there_is_no_bump_between_stages() -> None:
    schedule = Infinite()
    last = schedule.rate(99, 100, 3e-4, START)
    assert schedule.rate(0, 70, 3e-4, StreamState(stage=1, steps_before=100, last_rate=last)) == last


def test_a_long_warmup_shortens_the_cooldown() -> None:
    # W = 80 leaves 20 of the 60 updates of cooldown; half-way is at n = 90.
    schedule = Infinite(warmup_steps=80)
    assert rate_at(schedule, 80) == 3e-4
    assert rate_at(schedule, 90) == pytest.approx(2.325e-4)
    assert rate_at(schedule, 100) == pytest.approx(1.65e-4)
