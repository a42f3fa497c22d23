"""Spans of a stage as a plan writes them: a whole number of steps, or a share of the stage's steps."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from rewarm.quantities import parse_count, parse_share


def parse_span(value: Any) -> float:
    """A whole number of steps (1 or more), or a share below 1 such as `10%`; ValueError for anything else."""
    try:
        share = parse_share(value)
        return share if share < 1 else float(parse_count(value))
    except ValueError:
        raise ValueError("give a number of steps such as 500, or a share of the stage below 100% such as 10%") from None


Span = Annotated[float, BeforeValidator(parse_span), Field(gt=0)]
"""A number of steps, or a share of the stage's steps; accepts `500` and `10%`."""


def steps_of(span: float, steps: int) -> float:
    """The steps of a span in a stage of `steps`; a share of them need not come out whole."""
    return span * steps if span < 1 else span
