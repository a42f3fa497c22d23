"""Autoregressive peaks: the peak of each stage lies on the cosine that would end where the stage ends.

With P updates before the stage, T in it, W of them warmup, and w the warmup of all stages up to this one:

    peak_t = floor + (peak - floor) / 2 * (1 + cos(pi * (P + W - w) / (P + T - w)))
    n <= W    eta = peak_t * n / W
    n >  W    eta = floor + (peak_t - floor) / 2 * (1 + cos(pi * (n - W) / (T - W)))

where n counts the updates of the stage including this one. For stages of equal length the fraction is
t / (t + 1), with t counted from 0, so peak_t - floor falls like 1 / t^2: after some twenty stages the rate is
all but constant at the floor. TiC-LM, arXiv 2504.02107, and its authors' code, with a peak of 3e-4 and a
floor of 3e-5.
"""

from typing import ClassVar

from rewarm.quantities import Share
from rewarm.schedules.shapes import cosine, linear, update_number
from rewarm.schedules.warming import Warmed
from rewarm.types import StreamState


class Autoregressive(Warmed):
    """Each stage warms up to its place on the stream's cosine, and decays to `floor` (a share of the peak).

    Earlier stages are taken to have had the same `warmup` share, or the same `warmup_steps` each.
    """

    paper: ClassVar[str] = "arXiv 2504.02107"

    floor: Share = 0.1

    def rate(self, step: int, steps: int, peak: float, past: StreamState) -> float:
        """The rate of update `step`; `floor * peak` at the last one."""
        n = update_number(step, steps)
        warmup = self.warmup_updates(steps, room=steps)
        stage_peak = self.stage_peak(steps, peak, past)
        if n <= warmup:
            return linear(0.0, stage_peak, n / warmup)
        return cosine(stage_peak, self.floor * peak, (n - warmup) / (steps - warmup))

    def stage_peak(self, steps: int, peak: float, past: StreamState) -> float:
        """The highest rate of the stage: `peak` for the first of the stream, less for any later one."""
        before, new = past.steps_before, steps
        # Warmup given as a share takes the same share of both, and cancels in the fraction below.
        if self.warmup_steps is not None:
            before = max(0, before - self.warmup_steps * past.stage)
            new = steps - min(self.warmup_steps, steps)
        return cosine(peak, self.floor * peak, before / (before + new)) if before else peak
