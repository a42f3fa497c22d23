"""What the parts of a result have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["better", "worse", "not distinguishable from noise", "base"]
RowKind = Literal["base", "stage", "release", "control"]


class Part(BaseModel):
    """Base of the parts of a result. JSON has no infinity, so an unbounded interval is written as a string."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
