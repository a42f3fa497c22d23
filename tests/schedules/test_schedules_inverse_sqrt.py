import pytest

from rewarm.schedules.inverse_sqrt import InverseSqrt
from rewarm.types import StreamState

START = StreamState()


def test_it_falls_with_the_root_of_the_updates() -> None:
    # W = 4: sqrt(4 / 16) = 1/2, sqrt(4 / 100) = 1/5.
    schedule = InverseSqrt(warmup_steps=4, floor=0)
    rates = [schedule.rate(step, 100, 1.0, START) for step in range(100)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[16 - 1] == pytest.approx(0.5)
    assert rates[100 - 1] == pytest.approx(0.2)


def test_it_falls_towards_the_floor() -> None:
    # 0.1 + 0.9 / 2.
    assert InverseSqrt(warmup_steps=4, floor=0.1).rate(16 - 1, 100, 1.0, START) == pytest.approx(0.55)


def test_a_later_stage_counts_from_the_start_of_the_stream() -> None:
    # n = 60 + 4 = 64: sqrt(4 / 64); and its first update, n = 61, is not warmed up again.
    past = StreamState(stage=1, steps_before=60, last_rate=0.25)
    schedule = InverseSqrt(warmup_steps=4, floor=0)
    assert schedule.rate(3, 40, 1.0, past) == pytest.approx(0.25)
    assert schedule.rate(0, 40, 1.0, past) == pytest.approx((4 / 61) ** 0.5)


def test_cutting_a_stream_into_stages_changes_nothing() -> None:
    schedule = InverseSqrt(warmup_steps=4)
    whole = [schedule.rate(step, 100, 1.0, START) for step in range(100)]
    past = StreamState(stage=1, steps_before=40, last_rate=whole[39])
    parts = [schedule.rate(step, 40, 1.0, START) for step in range(40)]
    parts += [schedule.rate(step, 60, 1.0, past) for step in range(60)]
    assert parts == whole


def test_the_cooldown_is_a_line_to_the_floor() -> None:
    # The last 36 of 100: from sqrt(4 / 64) = 1/4 to 0.
    schedule = InverseSqrt(warmup_steps=4, cooldown=0.36, floor=0)
    assert schedule.rate(64 - 1, 100, 1.0, START) == pytest.approx(0.25)
    assert schedule.rate(82 - 1, 100, 1.0, START) == pytest.approx(0.125)
    assert schedule.rate(100 - 1, 100, 1.0, START) == 0.0
    # The next stage goes on along the curve: n = 144 has 2 / 12.
    past = StreamState(stage=1, steps_before=100, last_rate=0.0)
    assert schedule.rate(44 - 1, 100, 1.0, past) == pytest.approx(1 / 6)
    assert schedule.rate(100 - 1, 100, 1.0, past) == 0.0


def test_without_warmup_the_first_update_is_at_the_peak() -> None:
    schedule = InverseSqrt(warmup=0, floor=0)
    assert [schedule.rate(step, 4, 1.0, START) for step in (0, 3)] == [1.0, 0.5]


def test_a_warmup_longer_than_the_stage_leaves_room_for_the_cooldown() -> None:
    rates = [InverseSqrt(warmup_steps=50, cooldown=0.5, floor=0).rate(step, 8, 1.0, START) for step in range(8)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_a_stage_that_is_all_cooldown_falls_from_the_peak() -> None:
    schedule = InverseSqrt(warmup=0, cooldown=1, floor=0)
    assert [schedule.rate(step, 4, 1.0, START) for step in range(4)] == pytest.approx([0.75, 0.5, 0.25, 0.0])


def test_a_later_stage_longer_than_the_stream_so_far_is_not_warmed_again() -> None:
    # 1 % of 1000 steps is 10, but only 4 lie behind: n = 5 has sqrt(4 / 5), not 5 / 10.
    past = StreamState(stage=1, steps_before=4, last_rate=1.0)
    assert InverseSqrt(floor=0).rate(0, 1000, 1.0, past) == pytest.approx(0.8**0.5)
