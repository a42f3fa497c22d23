import pytest

from rewarm.methods import build
from rewarm.schedules.wsd import Wsd
from rewarm.types import StreamState, UserError

START = StreamState()


def test_three_phases() -> None:
    rates = [Wsd(warmup=0.1, shape="linear").rate(step, 100, 1.0, START) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates[10:90] == [1.0] * 80
    assert rates[90:] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


def test_one_minus_sqrt_decay() -> None:
    schedule = Wsd(shape="one-minus-sqrt")
    assert schedule.rate(925 - 1, 1000, 1.0, START) == pytest.approx(0.5)
    assert schedule.rate(964 - 1, 1000, 1.0, START) == pytest.approx(0.2)
    assert schedule.rate(1000 - 1, 1000, 1.0, START) == 0.0


def test_exponential_decay() -> None:
    schedule = Wsd(shape="exponential", floor=0.01)
    assert schedule.rate(950 - 1, 1000, 1.0, START) == pytest.approx(0.1)
    assert schedule.rate(1000 - 1, 1000, 1.0, START) == 0.01


def test_the_default_floor_depends_on_the_shape() -> None:
    assert Wsd().floor == 0.0
    assert Wsd(shape="linear").floor == 0.0
    assert Wsd(shape="exponential").floor == 0.1
    assert build("schedules", {"type": "wsd", "shape": "exponential"}).described()["floor"] == 0.1
    assert Wsd(shape="exponential", floor=0.3).floor == 0.3


def test_an_exponential_decay_to_zero_is_refused() -> None:
    with pytest.raises(UserError, match="Give a floor such as 10%, or shape: linear"):
        build("schedules", {"type": "wsd", "shape": "exponential", "floor": 0})


def test_a_fault_in_one_option_is_reported_alone() -> None:
    with pytest.raises(UserError) as caught:
        build("schedules", {"type": "wsd", "decay": 0})
    assert str(caught.value) == "schedules.wsd.decay: Input should be greater than 0 (given: 0)."


def test_a_warmup_longer_than_the_stage_leaves_room_for_the_decay() -> None:
    rates = [Wsd(warmup_steps=100, decay=0.2).rate(step, 10, 8.0, START) for step in range(10)]
    assert rates[:8] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert rates[9] == 0.0
