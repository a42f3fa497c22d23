"""What a leg's journal says of its steps: losses, rates, speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rewarm.objectives import Loss
from rewarm.training.coming import fingerprint
from rewarm.training.journal import Journal
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.types import Batch


class Meter:
    """Speed, losses and the journal; tensors stay on the device until a step is logged."""

    def __init__(
        self, leg: Leg, journal: Journal, tell: Callable[[int, dict[str, Any]], None], pending: list[float]
    ) -> None:
        self.leg = leg
        self.journal = journal
        self.tell = tell
        self.seconds = 0.0
        self._since = time.perf_counter()
        self._logged_seconds = 0.0
        self._losses = [torch.tensor(loss, dtype=torch.float64) for loss in pending]
        self._tokens = 0

    def is_logged(self, step: int) -> bool:
        """Whether the step about to be made (counted from 0) ends a logging interval."""
        return (step + 1) % self.leg.log_every == 0 or step + 1 == self.leg.rows.steps or step < 3

    def add(
        self, step: int, loss: Tensor, norm: Tensor, rate: float, batches: list[Batch], keepers: Keepers,
        objective: Loss,
    ) -> None:  # fmt: skip
        """Notes a finished step; writes and tells the interval's mean loss when the step is logged, with the
        fingerprint of the step's batch. A loss that is not a number is that of a skipped step."""
        step_tokens = self.leg.rows.step_tokens
        self._losses.append(loss)
        self._tokens += step_tokens
        if not self.is_logged(step - 1):
            return
        losses = [loss for loss in self.pending() if not math.isnan(loss)]
        mean = sum(losses) / len(losses) if losses else math.nan
        self.clock()
        spent = self.seconds - self._logged_seconds
        entry: dict[str, Any] = {
            "step": step,
            "tokens": step * step_tokens,
            "loss": mean,
            "rate": rate,
            "norm": float(norm),
            "tokens_per_second": self._tokens / spent if spent > 0 else 0.0,
            "batch": fingerprint(batches),
        }
        if readings := keepers.readings():
            entry["retention"] = readings
        if found := objective.readings():
            entry["objective"] = found
        self.journal.write(entry)
        self.tell(step, entry)
        self._losses, self._tokens, self._logged_seconds = [], 0, self.seconds

    def pending(self) -> list[float]:
        """The losses of the steps since the last logged one."""
        return [float(loss) for loss in self._losses]

    def pause(self, action: Callable[[], None]) -> None:
        """Runs an action without counting its time as training."""
        self.clock()
        action()
        self._since = time.perf_counter()

    def clock(self) -> None:
        """Adds the time since the clock was last read to the seconds of training."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
