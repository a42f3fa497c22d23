"""Notices a loss or gradient that is not finite before it reaches the weights."""

from __future__ import annotations

import torch
from torch import Tensor


class NonFinite(RuntimeError):
    """A loss or gradient was infinite or not a number; the update was not made. Exit code 1."""


class Guard:
    """Notices the first step whose loss or gradient is not finite, without making the device wait to be asked.

    From that step on `bad` is 1 and keeps the optimizer from every update, until `check` looks and raises. On a CPU,
    where asking costs nothing, that is at once.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self.bad = torch.zeros((), device=device)
        self._first = torch.zeros(3, dtype=torch.float64, device=device)

    def watch(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """Takes note of a step (counted from 0) before its update."""
        wrong = ~(torch.isfinite(norm) & torch.isfinite(loss))
        now = torch.stack([loss.double(), norm.double(), loss.new_full((), step, dtype=torch.float64)])
        self._first = torch.where(wrong & (self.bad == 0), now, self._first)
        self.bad = torch.maximum(self.bad, wrong.to(self.bad.dtype))
        if not loss.is_cuda:
            self.check()

    def check(self) -> None:
        """NonFinite when a step was bad; the weights are those before it."""
        if bool(self.bad):
            loss, norm, step = self._first.tolist()
            raise NonFinite(
                f"{self.name}: step {step:.0f} has loss {loss:.4g} and gradient norm {norm:.4g}; the update was not "
                "made. The same plan would come to this step again: lower learning_rate in another output_dir"
            )
