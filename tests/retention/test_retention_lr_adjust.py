"""LR ADJUST: the peak of each stage by hand, and in the forecast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.retention.lr_adjust import LrAdjust
from rewarm.river.forecast import forecast
from rewarm.types import StreamState


@pytest.mark.parametrize(("stage", "peak"), [(0, 8e-4), (1, 4e-4), (2, 2e-4), (3, 1.5e-4), (9, 1.5e-4)])
def test_by_hand(stage: int, peak: float) -> None:
    assert LrAdjust(gamma=0.5, floor=1.5e-4).peak(8e-4, StreamState(stage)) == pytest.approx(peak)


def test_it_is_the_recurrence_of_the_paper() -> None:
    method, peak = LrAdjust(gamma=0.7, floor=2e-4), 1e-3
    for stage in range(8):
        assert method.peak(1e-3, StreamState(stage)) == pytest.approx(peak)
        peak = max(2e-4, 0.7 * peak)


def test_a_floor_never_raises_a_stage() -> None:
    assert LrAdjust(gamma=0.5, floor=1e-2).peak(1e-3, StreamState(2)) == 1e-3


def test_check_forecasts_the_lowered_rates(scratch_plan: Callable[..., dict[str, Any]]) -> None:
    stage = {"data": "new", "tokens": 1024, "schedule": "constant", "retention": {"type": "lr-adjust", "gamma": 0.25}}
    stages = [{**stage, "name": name, "learning_rate": 1e-3} for name in ("a", "b", "c")]
    stages += [{**stage, "name": "aside", "learning_rate": 1e-3, "from": "base"}]
    found = forecast(from_values(scratch_plan(stages=stages)))
    highest = [leg.rates[1] for leg in found.legs]
    assert highest == pytest.approx([1e-3, 2.5e-4, 6.25e-5, 1e-3])
