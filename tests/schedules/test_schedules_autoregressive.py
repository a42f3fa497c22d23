import pytest

from rewarm.schedules.autoregressive import Autoregressive
from rewarm.types import StreamState

PEAK, STEPS = 3e-4, 1887


def past(stage: int) -> StreamState:
    return StreamState(stage=stage, steps_before=stage * STEPS, last_rate=3e-5 if stage else 0.0)


@pytest.mark.parametrize("schedule", [Autoregressive(), Autoregressive(warmup_steps=50), Autoregressive(warmup=0)])
def test_the_peaks_of_tic_lm(schedule: Autoregressive) -> None:
    # The published form with equal stages, 3e-4 to 3e-5, evaluated; x = t / (t + 1) of half a cosine.
    evaluated = [3.0e-4, 1.65e-4, 9.7e-5, 7.0e-5, 5.6e-5, 4.8e-5]
    peaks = [schedule.stage_peak(STEPS, PEAK, past(stage)) for stage in range(6)]
    assert peaks == pytest.approx(evaluated, abs=6e-7)
    # By hand: cos is 1, 0, -1/2, -0.707107.
    assert peaks[:4] == pytest.approx([3e-4, 1.65e-4, 9.75e-5, 6.954058e-5], rel=1e-6)
    assert schedule.stage_peak(STEPS, PEAK, past(20)) == pytest.approx(3.15e-5, abs=5e-8)


@pytest.mark.parametrize("stage", [0, 1, 5])
def test_each_stage_is_a_cosine_from_its_peak_to_the_floor(stage: int) -> None:
    schedule = Autoregressive(warmup_steps=51)
    top = schedule.stage_peak(STEPS, PEAK, past(stage))
    rates = [schedule.rate(step, STEPS, PEAK, past(stage)) for step in range(STEPS)]
    assert rates[0] == pytest.approx(top / 51)
    assert max(rates) == rates[51 - 1] == top
    assert rates[51 + 918 - 1] == pytest.approx((top + 3e-5) / 2)
    assert rates[-1] == pytest.approx(3e-5, rel=1e-12)


def test_unequal_stages() -> None:
    # A quarter of the way (100 of 400 updates): floor + (1 - floor) * 0.853553.
    before = StreamState(stage=1, steps_before=100, last_rate=0.1)
    assert Autoregressive(warmup=0.1).stage_peak(300, 1.0, before) == pytest.approx(0.868198, abs=1e-6)


def test_warmup_steps_of_every_stage_are_left_out_of_the_cosine() -> None:
    # (P + W - 2 W) / (P + T - 2 W) = (100 - 50) / (300 - 100): a quarter.
    before = StreamState(stage=1, steps_before=100, last_rate=0.1)
    assert Autoregressive(warmup_steps=50).stage_peak(200, 1.0, before) == pytest.approx(0.868198, abs=1e-6)


def test_stages_shorter_than_their_warmup_keep_the_peak() -> None:
    before = StreamState(stage=3, steps_before=9, last_rate=0.1)
    schedule = Autoregressive(warmup_steps=50)
    assert schedule.stage_peak(3, 1.0, before) == 1.0
    assert [schedule.rate(step, 3, 1.0, before) for step in range(3)] == pytest.approx([1 / 3, 2 / 3, 1.0])
