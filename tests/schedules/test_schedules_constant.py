from rewarm.schedules.constant import Constant
from rewarm.types import StreamState


def test_every_step_is_at_the_peak() -> None:
    assert [Constant().rate(step, 4, 3e-5, StreamState()) for step in range(4)] == [3e-5] * 4


def test_warmup_rises_from_zero() -> None:
    rates = [Constant(warmup=0.4).rate(step, 10, 8.0, StreamState(last_rate=5.0)) for step in range(10)]
    assert rates == [2.0, 4.0, 6.0] + [8.0] * 7
