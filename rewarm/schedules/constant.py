"""The peak at every step, after an optional linear warmup.

With n updates including this one, W of them warmup:

    n <= W   eta = peak * n / W
    n >  W   eta = peak

The baseline of the re-warming paper holds the base's final rate (arXiv 2308.04014, section 4.2); also the
trunk from which annealed branches are released.
"""

from typing import ClassVar

from rewarm.quantities import Share
from rewarm.schedules.shapes import linear, update_number
from rewarm.schedules.warming import Warmed
from rewarm.types import StreamState


class Constant(Warmed):
    """Constant rate, after `warmup` (a share of the stage's steps, by default none) of linear rise from 0."""

    paper: ClassVar[str] = "arXiv 2308.04014, section 4.2 (the constant-rate baseline)"

    warmup: Share = 0.0

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`: the peak once the warmup is over."""
        n = update_number(step, steps)
        warmup = self.warmup_updates(steps, room=steps)
        return linear(0.0, peak, n / warmup) if n <= warmup else peak
