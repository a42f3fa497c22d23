"""Re-warm and re-decay: from the stream's last rate up to the peak, then a cosine to a floor, per stage.

With n updates including this one, W of them warmup, T steps in the stage, eta_0 the last rate before it:

    n <= W              eta = eta_0 + (peak - eta_0) * n / W
    n >  W, rescaled    eta = floor + (peak - floor) / 2 * (1 + cos(pi * (n - W) / (T - W)))
    n >  W, clamped     eta = max(floor, peak / 2 * (1 + cos(pi * (n - W) / T)))

"Continual Pre-Training of Large Language Models: How to (re)warm your model?", arXiv 2308.04014, ran `start:
zero` and `form: clamped`; arXiv 2403.08763 ran `start: zero` and `form: rescaled`. The first reports that the
length of the warmup does not matter in the end; in both, a higher peak learns more of the new text and
forgets more of the old.
"""

from typing import ClassVar, Literal

from rewarm.schedules.cosine import Cosine
from rewarm.types import StreamState


class Rewarm(Cosine):
    """Re-warm to the peak, then a cosine to `floor` (a share of the peak) at the last step of every stage.

    `start` says where the warmup rises from: the `last` rate the stream applied (0 before its first step, and
    never more than the peak), or `zero`.
    """

    paper: ClassVar[str] = "arXiv 2308.04014 (clamped); arXiv 2403.08763 (rescaled)"

    start: Literal["last", "zero"] = "last"

    def first_rate(self, peak: float, past: StreamState) -> float:
        """The rate at n = 0, where the warmup rises from."""
        return min(past.last_rate, peak) if self.start == "last" else 0.0
