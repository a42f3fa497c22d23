"""What a plan was expected to do before it was run: `rewarm plan` writes it, the run keeps it, the report holds it
against the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

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


class Spoken(Options):
    """The settings that a forecast speaks of: `tokens` of all its stages together, `replay` the share of old text in
    each. Of a plan with others it says nothing."""

    learning_rate: float
    replay: float
    tokens: int
    seq_len: int
    batch_tokens: int


class Foretold(Options):
    """What a whole run was expected to do. `confidence` is that of every interval; `seconds` is the expected time of
    training; `pilots` says where the runs lie that it was learned from, `learned_from` how many there are, and
    `longest` how many tokens the longest of them has. `stage` is the last stage it speaks of: one that is added later
    changes nothing about it; None: the last of all."""

    WRITTEN_BY_REWARM: ClassVar[bool] = True

    changes: Annotated[dict[Name, Expected], Field(min_length=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seconds: Annotated[float, Field(ge=0)] | None = None
    max_forget: Annotated[float, Field(ge=0)] | None = None
    pilots: str = ""
    stage: Name | None = None
    learned_from: Annotated[int, Field(ge=0)] = 0
    longest: Annotated[int, Field(ge=0)] = 0
    speaks_of: Spoken | None = None


def changed(values: Mapping[str, Any]) -> list[str]:
    """What differs between a plan, given as its resolved values, and what its forecast speaks of, in words; nothing
    where it has no forecast, or one that does not say what it speaks of."""
    foretold = values.get("forecast") or {}
    spoken = foretold.get("speaks_of")
    if spoken is None:
        return []
    stages = values["stages"]
    last = next((place for place, one in enumerate(stages) if one["name"] == foretold.get("stage")), len(stages) - 1)
    own = stages[: last + 1]
    found = {
        "learning_rate": {one["learning_rate"] for one in own},
        "replay": {(one.get("replay") or {}).get("share", 0.0) for one in own},
        "tokens": {sum(one.get("tokens") or 0 for one in own)},
        "seq_len": {values["seq_len"]},
        "batch_tokens": {values["batch_tokens"]},
    }
    return [
        f"{name} is {', '.join(str(one) for one in sorted(found[name], key=str))} and was {was}"
        for name, was in spoken.items()
        if found[name] != {was}
    ]
