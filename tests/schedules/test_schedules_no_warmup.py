import pytest

from rewarm.schedules.no_warmup import NoWarmup
from rewarm.types import StreamState


def test_five_steps_by_hand() -> None:
    rates = [NoWarmup().rate(step, 5, 1.0, StreamState()) for step in range(5)]
    assert rates == pytest.approx([1.0, 0.855018, 0.505, 0.154982, 0.01], abs=1e-6)
    assert rates[0] == 1.0
    assert rates[-1] == 0.01


def test_it_starts_at_the_bases_final_rate_whatever_the_stream_did() -> None:
    past = StreamState(stage=1, steps_before=10, last_rate=4.5e-7)
    assert NoWarmup().rate(0, 100, 4.5e-5, past) == 4.5e-5
    assert NoWarmup().rate(99, 100, 4.5e-5, past) == pytest.approx(4.5e-7, rel=1e-12)


def test_one_step_is_at_the_floor() -> None:
    assert NoWarmup(floor=0.25).rate(0, 1, 1.0, StreamState()) == 0.25
