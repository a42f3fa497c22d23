"""WSD-S: one main branch that goes on from its decayed checkpoints.

As `wsd` in every stage, but the warmup rises from eta_0, the rate at which the stage before ended:

    n <= W    eta = eta_0 + (peak - eta_0) * n / W

With n updates including this one, W of them warmup. Each stage ends decayed, so each leaves a model to
release, and nothing is thrown away: arXiv 2410.05192.
"""

from typing import ClassVar

from rewarm.schedules.wsd import Wsd
from rewarm.types import StreamState


class WsdS(Wsd):
    """A short re-warm from the stream's last rate (at most the peak), the peak, and a decay to `floor`."""

    paper: ClassVar[str] = "arXiv 2410.05192"

    def first_rate(self, peak: float, past: StreamState) -> float:
        """The rate at n = 0, where the warmup rises from."""
        return min(past.last_rate, peak)
