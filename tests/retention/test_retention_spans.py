"""Spans of a stage: numbers of steps, and shares of it."""

from __future__ import annotations

from typing import Any

import pytest

from rewarm.retention.spans import parse_span, steps_of


@pytest.mark.parametrize(
    ("written", "span", "steps"),
    [("10%", 0.1, 20.0), (0.25, 0.25, 50.0), (500, 500.0, 500.0), ("1_000", 1000.0, 1000.0)],
)
def test_a_span_in_a_stage_of_200_steps(written: Any, span: float, steps: float) -> None:
    assert parse_span(written) == span
    assert steps_of(span, 200) == steps


@pytest.mark.parametrize("written", ["100%", "many", True, 1.5, None, "150%"])
def test_what_is_neither_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"give a number of steps such as 500, or a share"):
        parse_span(written)
