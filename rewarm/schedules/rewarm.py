"""placeholder"""

from rewarm.schedules import Schedule
from rewarm.types import StreamState


class Rewarm(Schedule):
    """placeholder"""

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        return peak
