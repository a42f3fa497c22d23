"""The parts of a result that hold a forecast against its outcome."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rewarm.report.part import Part


class ForecastOf(Part):
    """The forecast of one watched corpus: the change of the final model's loss as a share of the base's, with bounds,
    and the outcome with those of its own interval. `inside` says whether the outcome lies within the forecast's bounds;
    None before the run is complete."""

    corpus: str
    role: Literal["old", "new"]
    law: str
    point: float
    low: float
    high: float
    outcome: float | None = None
    outcome_low: float | None = None
    outcome_high: float | None = None
    inside: bool | None = None


class Forecasted(Part):
    """What a whole plan was expected to do. `seconds` are those of training, as forecast and as it took; `pilots` says
    where the runs lie that it was learned from. `changed` words what the plan has otherwise than what the forecast
    speaks of."""

    corpora: list[ForecastOf]
    confidence: float
    max_forget: float | None = None
    seconds: float | None = None
    outcome_seconds: float | None = None
    pilots: str = ""
    changed: list[str] = Field(default_factory=list)
