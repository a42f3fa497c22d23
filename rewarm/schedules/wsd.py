"""WSD: warmup, stable, decay, within each stage.

With n updates including this one, W of them warmup and D decay, T steps in the stage, u = (n - (T - D)) / D:

    n <= W                  eta = peak * n / W
    W < n <= T - D          eta = peak
    n > T - D, linear       eta = peak + (floor - peak) * u
      one-minus-sqrt        eta = floor + (peak - floor) * (1 - sqrt(u))
      exponential           eta = peak * (floor / peak) ** u

MiniCPM, arXiv 2404.06395. The shapes of the decay are compared in arXiv 2405.18392, which prefers
one-minus-sqrt and matches a cosine with 10 to 20 % of decay.
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from rewarm.quantities import Share
from rewarm.schedules.shapes import DECAYS, DecayShape, check_floor, linear, update_number
from rewarm.schedules.warming import Warmed
from rewarm.types import StreamState


class Wsd(Warmed):
    """Warmup from 0, the peak, and over the last `decay` share of the steps a decay to `floor`.

    `floor` is a share of the peak: by default 0 for linear and one-minus-sqrt, and 0.1 for exponential, which
    cannot reach 0.
    """

    paper: ClassVar[str] = "arXiv 2404.06395; arXiv 2405.18392 (shapes)"

    decay: Annotated[Share, Field(gt=0)] = 0.1
    shape: DecayShape = "one-minus-sqrt"
    floor: Share = 0.0

    @model_validator(mode="before")
    @classmethod
    def _floor_of_the_shape(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("shape") == "exponential":
            return {"floor": 0.1, **fields}
        return fields

    @model_validator(mode="after")
    def _fits_the_stage(self) -> "Wsd":
        check_floor(self.shape, self.floor)
        self.check_room("decay", self.decay)
        return self

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`; `floor * peak` at the last one, however short the stage."""
        n = update_number(step, steps)
        decay = max(1, round(self.decay * steps))
        stable_end = steps - decay
        if n > stable_end:
            return DECAYS[self.shape](peak, self.floor * peak, (n - stable_end) / decay)
        warmup = self.warmup_updates(steps, room=stable_end)
        return linear(self.first_rate(peak, past), peak, n / warmup) if n <= warmup else peak

    def first_rate(self, peak: float, past: StreamState) -> float:
        """The rate at n = 0, where the warmup rises from."""
        return 0.0
