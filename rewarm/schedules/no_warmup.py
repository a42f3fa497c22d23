"""Start at the peak without any warmup, then a cosine decay to a hundredth of it.

With n updates including this one, T steps in the stage:

    eta = floor + (peak - floor) / 2 * (1 + cos(pi * (n - 1) / (T - 1)))

A stage of one step is at the floor. Otherwise the first update is at the peak itself, which is meant to be
the rate at which the base's own pre-training ended, so that the stream goes on without a jump: "Reuse, Don't
Retrain", arXiv 2407.07263, which reports that on a strongly trained base any warmup hurt. The re-warming
papers (see `rewarm`) advise the opposite, for smaller bases and larger shifts.
"""

from typing import ClassVar

from rewarm.quantities import Share
from rewarm.schedules import Schedule
from rewarm.schedules.shapes import cosine, update_number
from rewarm.types import StreamState


class NoWarmup(Schedule):
    """From the peak at the first step to `floor` (a share of the peak) at the last."""

    paper: ClassVar[str] = "arXiv 2407.07263"

    floor: Share = 0.01

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`: the peak at the first one, `floor * peak` at the last one."""
        n = update_number(step, steps)
        progress = (n - 1) / (steps - 1) if steps > 1 else 1.0
        return cosine(peak, self.floor * peak, progress)
