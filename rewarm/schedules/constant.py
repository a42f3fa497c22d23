"""The peak at every step."""

from rewarm.schedules import Schedule
from rewarm.types import StreamState


class Constant(Schedule):
    """Constant rate, after `warmup` (a share of the stage's steps) of linear rise from 0."""

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The peak."""
        return peak
