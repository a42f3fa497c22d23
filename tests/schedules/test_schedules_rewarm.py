from itertools import pairwise

import pytest

from rewarm.schedules.cosine import Cosine
from rewarm.schedules.rewarm import Rewarm
from rewarm.types import StreamState

PAST = StreamState(stage=1, steps_before=100, last_rate=2e-5)


def test_it_warms_from_the_last_rate_and_decays_again() -> None:
    rates = [Rewarm(warmup_steps=4).rate(step, 20, 1e-4, PAST) for step in range(20)]
    assert rates[:4] == pytest.approx([4e-5, 6e-5, 8e-5, 1e-4])
    assert rates[12 - 1] == pytest.approx(5.5e-5)
    assert rates[-1] == pytest.approx(1e-5, rel=1e-12)
    assert all(later < earlier for earlier, later in pairwise(rates[3:]))


def test_it_can_start_from_zero_as_published() -> None:
    for form in ("rescaled", "clamped"):
        published, plain = Rewarm(start="zero", form=form, warmup=0.1), Cosine(form=form, warmup=0.1)
        assert published.rate(0, 40, 1e-4, PAST) == pytest.approx(2.5e-5)
        for step in range(40):
            assert published.rate(step, 40, 1e-4, PAST) == plain.rate(step, 40, 1e-4, PAST)


def test_before_the_first_step_the_last_rate_is_zero() -> None:
    assert Rewarm(warmup_steps=4).rate(0, 20, 1e-4, StreamState()) == pytest.approx(2.5e-5)


def test_a_last_rate_above_the_peak_counts_as_the_peak() -> None:
    past = StreamState(stage=1, steps_before=100, last_rate=5e-4)
    assert [Rewarm(warmup_steps=4).rate(step, 20, 1e-4, past) for step in range(4)] == [1e-4] * 4


def test_clamped_re_decay() -> None:
    # (1 + cos(pi n / 10)) / 2 is 0.5 at n = 5, 0.206107 at 7, and 0.0955 at 8, which is under the floor.
    rates = [Rewarm(form="clamped", warmup=0).rate(step, 10, 1.0, PAST) for step in range(10)]
    assert rates[4:8] == pytest.approx([0.5, 0.345492, 0.206107, 0.1], abs=1e-6)
    assert rates[7:] == [0.1, 0.1, 0.1]


def test_stages_in_a_row_climb_from_where_the_last_one_ended() -> None:
    schedule, past = Rewarm(warmup_steps=10), StreamState()
    firsts = []
    for stage in range(3):
        rates = [schedule.rate(step, 100, 1e-3, past) for step in range(100)]
        firsts.append(rates[0])
        past = StreamState(stage=stage + 1, steps_before=100 * (stage + 1), last_rate=rates[-1])
    # From 0, then from the floor 1e-4: a tenth of the way to 1e-3.
    assert firsts == pytest.approx([1e-4, 1.9e-4, 1.9e-4])
