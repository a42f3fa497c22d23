"""What a plan was expected to do before it was run: `rewarm plan` writes it, the run keeps it, the report holds it
against the outcome."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rewarm.methods import Options
from rewarm.stages import Name


class Expected(Options):
    """The expected change of the last model's loss on one watched corpus, as a share of the base's loss (0.01 is 1 %
    more nats per byte), with the bounds of its interval, and the `law` that gave it."""

    point: float
    low: float
    high: float
    law: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Expected:
        if not self.low <= self.point <= self.high:
            raise ValueError(f"low {self.low:g}, point {self.point:g} and high {self.high:g} must be in this order")
        return self


class Foretold(Options):
    """What a whole run was expected to do. `confidence` is that of every interval; `seconds` is the expected time of
    training; `pilots` says where the runs lie that it was learned from. `stage` is the last stage it speaks of: one
    that is added later changes nothing about it; None: the last of all."""

    changes: Annotated[dict[Name, Expected], Field(min_length=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seconds: Annotated[float, Field(ge=0)] | None = None
    max_forget: Annotated[float, Field(ge=0)] | None = None
    pilots: str = ""
    stage: Name | None = None
