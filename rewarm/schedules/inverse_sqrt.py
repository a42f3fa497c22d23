"""Inverse square root decay over the whole stream, with an optional cooldown at the end of each stage.

With n updates since the stream began, this one included, W warmup, C cooldown, N the count at the stage's
end:

    n <= W, first stage    eta = peak * n / W
    n <= N - C             eta = floor + (peak - floor) * sqrt(W) / sqrt(n)
    n >  N - C             eta = eta_{N-C} + (floor - eta_{N-C}) * (n - (N - C)) / C

The rate does not depend on when the stream will end, so stages can follow without a re-warm; after a cooldown
the next stage takes up the undisturbed curve. As in TiC-LM, arXiv 2504.02107 (peak 1e-3, floor 3e-5, a
cooldown of 400 of 1887 steps), whose code, as its scripts call it, counts anew in each stage.
"""

import math
from typing import ClassVar

from pydantic import model_validator

from rewarm.quantities import Share
from rewarm.schedules.shapes import linear, update_number
from rewarm.schedules.warming import Warmed
from rewarm.types import StreamState


class InverseSqrt(Warmed):
    """Falls with the square root of the stream's steps towards `floor` (a share of the peak).

    W is at least 1, and scales the curve in every stage: give `warmup_steps` when stages differ in length,
    since a share of the steps would make W differ with them. `cooldown` is a share of the stage's steps, by
    default none.
    """

    paper: ClassVar[str] = "arXiv 2504.02107"

    cooldown: Share = 0.0
    floor: Share = 0.03

    @model_validator(mode="after")
    def _fits_the_stage(self) -> "InverseSqrt":
        self.check_room("cooldown", self.cooldown)
        return self

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`; `floor * peak` at the last one when there is a cooldown."""
        n = past.steps_before + update_number(step, steps)
        cooldown = max(1, round(self.cooldown * steps)) if self.cooldown else 0
        curve_end = past.steps_before + steps - cooldown
        # In a later stage the warmup lies behind: W is at most the steps before, so that none is left.
        warmup = max(1, self.warmup_updates(steps, room=past.steps_before or curve_end))
        if n <= curve_end:
            return self._curve(n, warmup, peak)
        # A stage that is all cooldown cools from its first update's rate, not from the 0 at n = 0.
        start = self._curve(max(1, curve_end), warmup, peak)
        return linear(start, self.floor * peak, (n - curve_end) / cooldown)

    def _curve(self, n: int, warmup: int, peak: float) -> float:
        if n <= warmup:
            return linear(0.0, peak, n / warmup)
        return linear(self.floor * peak, peak, math.sqrt(warmup / n))
