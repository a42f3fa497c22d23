"""Notices a loss or gradient that is not finite, or a loss far above those before, before it reaches the weights.

Shapes: W steps of the window, K steps that were skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rewarm.stages import Spikes


class NonFinite(RuntimeError):
    """A loss or gradient was infinite or not a number; the update was not made. Exit code 1."""


class Guard:
    """Keeps the optimizer from updates that would spoil the weights, without making the device wait to be asked.

    Without a policy the first step whose loss or gradient is not finite keeps it from that update and all that follow,
    until `check` looks and raises. With one, such a step and a spike of the loss are skipped and the leg goes on;
    `check` raises once there are too many. On a CPU, where asking costs nothing, that is at once. `documents` says what
    a step (counted from 0) was to learn from. `skip`, on the device, is 1 if the update of the step last watched must
    not be made, else 0.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        policy: Spikes | None = None,
        documents: Callable[[int], str] = lambda step: "",
    ) -> None:
        self.name, self.policy, self._documents = name, policy, documents
        self._most = policy.most if policy is not None else 0
        kept = policy.window if policy is not None else 1
        self.skip = torch.zeros((), device=device)
        # How many losses the window has seen, and the last of them.
        self._seen = torch.zeros((), dtype=torch.float64, device=device)
        self._losses_W = torch.zeros(kept, dtype=torch.float64, device=device)
        # How many steps were skipped, and step, loss and norm of each: of those that are too many, the first.
        self._skipped = torch.zeros((), dtype=torch.float64, device=device)
        self._steps_K3 = torch.zeros(self._most + 1, 3, dtype=torch.float64, device=device)

    def watch(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """Takes note of a step (counted from 0) before its update."""
        wrong = ~(torch.isfinite(norm) & torch.isfinite(loss))
        if self.policy is not None:
            wrong = wrong | self._is_spike(loss.double())
            kept = self._losses_W
            at_W = torch.arange(len(kept), device=kept.device) == self._seen % len(kept)
            self._losses_W = torch.where(at_W & ~wrong, loss.double(), kept)
            self._seen = self._seen + (~wrong).double()
        now_3 = torch.stack([loss.new_full((), step, dtype=torch.float64), loss.double(), norm.double()])
        at_K = torch.arange(self._most + 1, device=loss.device) == self._skipped
        self._steps_K3 = torch.where((at_K & wrong)[:, None], now_3, self._steps_K3)
        self._skipped = self._skipped + wrong.double()
        self.skip = (wrong | (self._skipped > self._most)).float()
        if not loss.is_cuda:
            self.check()

    def counted(self, loss: Tensor) -> Tensor:
        """The loss of the step last watched, as it counts in means: not a number where its update is skipped."""
        return torch.where(self.skip > 0, torch.nan, loss)

    def _is_spike(self, loss: Tensor) -> Tensor:
        assert self.policy is not None  # or there are no spikes
        is_full = self._seen >= self.policy.window
        far = self._losses_W.mean() + self.policy.sigma * self._losses_W.std(correction=0)
        return is_full & (loss > far)

    def check(self) -> None:
        """NonFinite when the leg must not go on; the weights are those before the step that it names."""
        if float(self._skipped) <= self._most:
            return
        step, loss, norm = self._steps_K3[-1].tolist()
        said = (
            f"{self.name}: step {step:.0f} has loss {loss:.4g} and gradient norm {norm:.4g}; the update was not made. "
        )
        if documents := self._documents(int(step)):
            said += f"It was to learn from {documents}. "
        if self.policy is not None:
            raise NonFinite(
                f"{said}{self._most} steps before it were skipped, which is all that spikes.most allows: look at these "
                "texts, lower learning_rate, or allow more, in another output_dir"
            )
        raise NonFinite(
            f"{said}The same plan would come to this step again: lower learning_rate, or skip such steps with spikes: "
            "skip, in another output_dir"
        )

    def skipped(self) -> list[tuple[int, float, float]]:
        """Step, loss and gradient norm of every step that was skipped."""
        count = min(int(self._skipped), self._most)
        return [(int(step), loss, norm) for step, loss, norm in self._steps_K3[:count].tolist()]

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it; nothing without a policy."""
        if self.policy is None:
            return {}
        return {"seen": self._seen, "losses": self._losses_W, "skipped": self._skipped, "steps": self._steps_K3}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` gave."""
        if state:
            device = self._seen.device
            self._seen, self._losses_W, self._skipped, self._steps_K3 = (
                state[name].to(device) for name in ("seen", "losses", "skipped", "steps")
            )
