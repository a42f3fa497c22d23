"""Linear warmup from 0, then a cosine decay to a floor, per stage.

With n updates including this one, W of them warmup, T steps in the stage:

    n <= W              eta = peak * n / W
    n >  W, rescaled    eta = floor + (peak - floor) / 2 * (1 + cos(pi * (n - W) / (T - W)))
    n >  W, clamped     eta = max(floor, peak / 2 * (1 + cos(pi * (n - W) / T)))

`rescaled` (arXiv 2403.08763) is at the floor exactly at n = T. `clamped` is what GPT-NeoX ran until August
2023, and so what the re-warming paper ran (arXiv 2308.04014): a cosine to zero, cut off at the floor, which
with a floor of 10 % is reached at n - W = 0.795 T and flat from there. It misses the floor when the warmup is
longer than the flat part.
"""

from typing import ClassVar, Literal

from rewarm.quantities import Share
from rewarm.schedules.shapes import cosine, linear, update_number
from rewarm.schedules.warming import Warmed
from rewarm.types import StreamState


class Cosine(Warmed):
    """Warmup from 0, then a cosine to `floor` (a share of the peak) at the last step of every stage."""

    paper: ClassVar[str] = "arXiv 2403.08763 (rescaled); arXiv 2308.04014 (clamped)"

    floor: Share = 0.1
    form: Literal["rescaled", "clamped"] = "rescaled"

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`; `floor * peak` at the last one."""
        n = update_number(step, steps)
        warmup = self.warmup_updates(steps, room=steps)
        floor = self.floor * peak
        if n <= warmup:
            return linear(self.first_rate(peak, past), peak, n / warmup)
        if self.form == "clamped":
            return max(floor, cosine(peak, 0.0, (n - warmup) / steps))
        return cosine(peak, floor, (n - warmup) / (steps - warmup))

    def first_rate(self, peak: float, past: StreamState) -> float:
        """The rate at n = 0, where the warmup rises from."""
        return 0.0
