"""The infinite schedule: warm up and cool down once, then one constant rate for every stage that follows.

With n updates including this one, W of them warmup and C cooldown, m = n - W, in the first stage:

    n <= W                  eta = peak * n / W
    m <= C, cosine          eta = eta_c + (peak - eta_c) / 2 * (1 + cos(pi * m / C))
    m <= C, inverse-sqrt    eta = peak + (eta_c - peak) * f(m / C) / f(1)
    m >  C                  eta = eta_c
    later stages            eta = eta_c from the first update on, no re-warm

eta_c is `constant * peak`, and f(u) = 1 / sqrt(1 + timescale * u) - 1. To release a model, anneal a branch
(see `anneal`) and go on from before the anneal. arXiv 2403.08763, section 7, whose 405M runs had eta_c = 0.55
peak and a cooldown of 60 % of the steps. It tested the schedule without a shift of distribution only.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from rewarm.quantities import Share
from rewarm.schedules.shapes import cosine, inverse_sqrt, linear, update_number
from rewarm.schedules.warming import Warmed
from rewarm.types import StreamState


class Infinite(Warmed):
    """Warmup and cooldown in the first stage, then constant at `constant` (a share of the peak) for ever.

    `warmup` and `cooldown` are shares of the first stage's steps. `timescale` bends the inverse-sqrt cooldown
    only; its default is this project's choice, since the paper's value is not known to us.
    """

    paper: ClassVar[str] = "arXiv 2403.08763, section 7"

    cooldown: Share = 0.6
    cooldown_shape: Literal["cosine", "inverse-sqrt"] = "cosine"
    timescale: Annotated[float, Field(gt=0)] = 10.0
    constant: Share = 0.55

    @model_validator(mode="after")
    def _fits_the_stage(self) -> "Infinite":
        self.check_room("cooldown", self.cooldown)
        return self

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`; `constant * peak` from the end of the cooldown on."""
        n = update_number(step, steps)
        constant = self.constant * peak
        if past.stage > 0:
            return constant
        warmup = self.warmup_updates(steps, room=steps)
        if n <= warmup:
            return linear(0.0, peak, n / warmup)
        cooldown = min(round(self.cooldown * steps), steps - warmup)
        if n - warmup >= cooldown:
            return constant
        progress = (n - warmup) / cooldown
        if self.cooldown_shape == "cosine":
            return cosine(peak, constant, progress)
        return inverse_sqrt(peak, constant, progress, self.timescale)
