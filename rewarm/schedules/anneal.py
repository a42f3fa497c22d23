"""Anneal for release: from the stream's last rate down to a floor, over one stage.

With n updates including this one, T steps in the stage, eta_0 the last rate before it (the peak when there
was none):

    exponential       eta = eta_0 * (floor / eta_0) ** (n / T)
    linear            eta = eta_0 + (floor - eta_0) * n / T
    one-minus-sqrt    eta = floor + (eta_0 - floor) * (1 - sqrt(n / T))

n and T count this stage alone, so the last update is exactly at the floor. A public re-implementation divides
by T plus the steps before the anneal, and stops far above it. Exponential: arXiv 2403.08763, section 7;
one-minus-sqrt: arXiv 2405.18392.
"""

from typing import ClassVar

from pydantic import model_validator

from rewarm.quantities import Share
from rewarm.schedules import Schedule
from rewarm.schedules.shapes import DECAYS, DecayShape, check_floor, update_number
from rewarm.types import StreamState


class Anneal(Schedule):
    """From the last applied rate to `floor` (a share of the peak) at the last step.

    After a last rate of 0 (no step before, or a decay to nothing) it starts at the peak. Otherwise an anneal
    never raises the rate: a last rate above the peak counts as the peak, and one under the floor stays.
    """

    paper: ClassVar[str] = "arXiv 2403.08763, section 7 (exponential); arXiv 2405.18392 (one-minus-sqrt)"

    shape: DecayShape = "exponential"
    floor: Share = 0.1

    @model_validator(mode="after")
    def _reaches_its_floor(self) -> "Anneal":
        check_floor(self.shape, self.floor)
        return self

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`; `floor * peak` at the last one."""
        n = update_number(step, steps)
        start = min(past.last_rate, peak) if past.last_rate > 0.0 else peak
        end = min(self.floor * peak, start)
        return DECAYS[self.shape](start, end, n / steps)
