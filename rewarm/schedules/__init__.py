"""Learning-rate schedules: step -> rate. One file each; the class is its options.

A schedule is pure: the rate of optimizer step `step` (counted from 0) of a stage of `steps` steps. "n" in the
formulas is the number of updates including this one, n = step + 1, so the first update is never at rate 0 unless
the formula says so, and the last one (n = steps) is where the schedule says it ends.
"""

from abc import abstractmethod

from rewarm.methods import Method
from rewarm.types import StreamState


class Schedule(Method):
    """Slot: the learning rate of one step."""

    @abstractmethod
    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The learning rate of update `step` in [0, steps) of this stage, for a stage whose peak is `peak`."""


SLOT = Schedule
