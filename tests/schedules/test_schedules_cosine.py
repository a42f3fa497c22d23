import pytest

from rewarm.schedules.cosine import Cosine
from rewarm.types import StreamState

START = StreamState()


def test_the_405m_run_of_ibrahim_et_al() -> None:
    # 132,366 iterations, warmup 1 % = 1,324, 3e-4 to 3e-5: 2.60e-4 at 25 % of the decay, 1.65e-4 at 50 %.
    schedule, steps, peak = Cosine(), 132_366, 3e-4
    assert schedule.rate(662 - 1, steps, peak, START) == pytest.approx(1.5e-4)
    assert schedule.rate(1_324 - 1, steps, peak, START) == 3e-4
    quarter = 1_324 + 131_042 // 4
    assert schedule.rate(quarter - 1, steps, peak, START) == pytest.approx(2.6046e-4, abs=1e-8)
    middle = 1_324 + 131_042 // 2
    assert schedule.rate(middle - 1, steps, peak, START) == pytest.approx(1.65e-4, rel=1e-12)
    assert schedule.rate(steps - 1, steps, peak, START) == pytest.approx(3e-5, rel=1e-12)


def test_four_steps_by_hand() -> None:
    # floor + (1 - floor) / 2 * (1 + cos): cos is 0.70711, 0, -0.70711, -1.
    rates = [Cosine().rate(step, 4, 1.0, START) for step in range(4)]
    assert rates == pytest.approx([0.868198, 0.55, 0.231802, 0.1], abs=1e-6)


def test_clamped_is_a_cosine_to_zero_cut_at_the_floor() -> None:
    schedule = Cosine(form="clamped", warmup=0)
    assert schedule.rate(500 - 1, 1000, 1.0, START) == pytest.approx(0.5)
    assert schedule.rate(250 - 1, 1000, 1.0, START) == pytest.approx(0.853553, abs=1e-6)
    # (1 + cos(pi x)) / 2 = 0.1 at x = 0.7952.
    assert schedule.rate(795 - 1, 1000, 1.0, START) > 0.1
    assert [schedule.rate(step, 1000, 1.0, START) for step in range(795, 1000)] == [0.1] * 205


def test_clamped_meets_the_floor_where_gupta_et_al_show_it() -> None:
    # 297B tokens in steps of 10M, warmup 1 %: 0.7952 * 297B + 2.97B = 239B, flat from there.
    schedule = Cosine(form="clamped")
    flat = [n for n in range(1, 29_701) if schedule.rate(n - 1, 29_700, 3e-4, START) <= 3e-5 * (1 + 1e-12)]
    decayed = [n for n in flat if n > 297]
    assert decayed[0] == 23_914
    assert decayed == list(range(23_914, 29_701))


def test_rescaled_and_clamped_share_the_warmup() -> None:
    for form in ("rescaled", "clamped"):
        rates = [Cosine(form=form, warmup_steps=4).rate(step, 40, 1.0, START) for step in range(4)]
        assert rates == [0.25, 0.5, 0.75, 1.0]


def test_every_stage_starts_from_zero_whatever_came_before() -> None:
    past = StreamState(stage=2, steps_before=900, last_rate=0.7)
    assert Cosine(warmup_steps=4).rate(0, 40, 1.0, past) == 0.25


def test_a_stage_shorter_than_its_warmup_only_warms() -> None:
    assert [Cosine(warmup_steps=50).rate(step, 4, 1.0, START) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
