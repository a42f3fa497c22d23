import pytest

from rewarm.schedules.wsd import Wsd
from rewarm.schedules.wsd_s import WsdS
from rewarm.types import StreamState


def test_it_warms_from_the_decayed_rate_back_to_the_peak() -> None:
    past = StreamState(stage=1, steps_before=20, last_rate=1e-5)
    rates = [WsdS(warmup_steps=3, shape="linear", floor=0.1).rate(step, 20, 1e-4, past) for step in range(20)]
    assert rates[:3] == pytest.approx([4e-5, 7e-5, 1e-4])
    assert rates[3:18] == [1e-4] * 15
    assert rates[18:] == pytest.approx([5.5e-5, 1e-5])


def test_a_stream_has_one_branch_that_decays_at_the_end_of_every_stage() -> None:
    schedule, past = WsdS(floor=0.1, warmup_steps=10), StreamState()
    ends, firsts, highest = [], [], []
    for stage, steps in enumerate((100, 50, 200)):
        rates = [schedule.rate(step, steps, 1e-3, past) for step in range(steps)]
        firsts.append(rates[0])
        highest.append(max(rates))
        ends.append(rates[-1])
        past = StreamState(stage=stage + 1, steps_before=past.steps_before + steps, last_rate=rates[-1])
    assert ends == pytest.approx([1e-4] * 3, rel=1e-12)
    assert highest == [1e-3] * 3
    assert firsts == pytest.approx([1e-4, 1.9e-4, 1.9e-4])


def test_the_first_stage_is_plain_wsd() -> None:
    for step in range(50):
        assert WsdS().rate(step, 50, 1e-3, StreamState()) == Wsd().rate(step, 50, 1e-3, StreamState())


def test_a_last_rate_above_the_peak_counts_as_the_peak() -> None:
    past = StreamState(stage=1, steps_before=20, last_rate=1.0)
    assert WsdS(warmup_steps=3).rate(0, 20, 1e-4, past) == pytest.approx(1e-4, rel=1e-12)
