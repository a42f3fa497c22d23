"""AdamW with decoupled decay groups, its state across stages, and the measured rate of an update.

Loshchilov & Hutter, arXiv 1711.05101: theta <- theta - rate * (decay * theta + m_hat / (sqrt(v_hat) + eps)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

Policy = Literal["reset", "keep", "keep-second-moment"]
PROBED = 4096


@dataclass(frozen=True, slots=True)
class AdamWOptions:
    """The plan's optimizer keys."""

    weight_decay: float
    betas: tuple[float, float]
    epsilon: float
    max_grad_norm: float


class Named(Protocol):
    """What holds the parameters: a model, or a process's parts of one (sharding.py)."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name and parameter, tied ones once."""


class Optimizer:
    """AdamW over a model's trainable parameters: matrices decay, vectors (norms, biases) do not.

    `paces` are factors of the learning rate by parameter name, 1 where a name has none.
    """

    def __init__(self, model: Named, options: AdamWOptions, paces: Mapping[str, float] | None = None) -> None:
        self.options = options
        self.named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, parameter in self.named.items():
            groups.setdefault((parameter.ndim < 2, (paces or {}).get(name, 1.0)), []).append(parameter)
        self.adamw = torch.optim.AdamW(
            [
                {"params": groups[key], "weight_decay": 0.0 if key[0] else options.weight_decay, "pace": key[1]}
                for key in sorted(groups)
            ],
            lr=0.0,
            betas=options.betas,
            eps=options.epsilon,
            fused=True,
        )

    def clip(self) -> Tensor:
        """Clips the gradients to the plan's norm in place; the norm before clipping (a scalar, on the device)."""
        return torch.nn.utils.clip_grad_norm_(list(self.named.values()), self.options.max_grad_norm, foreach=True)

    def step(self, rate: float, skip: Tensor | None = None, pace: float = 1.0) -> None:
        """One update at `rate`, unless `skip` (a float on the device) is 1; gradients are released afterwards.

        `pace` scales Adam's part alone: weights decay at `rate` all the same.
        """
        # AdamW's kernel reads this by itself, so that nobody has to wait for the device to know.
        self.adamw.found_inf = skip  # type: ignore[attr-defined]
        decays = [group["weight_decay"] for group in self.adamw.param_groups]
        for group in self.adamw.param_groups:
            group["lr"] = rate * pace * group["pace"]
        if pace != 1.0:
            self._decay(rate, skip)
        self.adamw.step()
        for group, decay in zip(self.adamw.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        self.adamw.zero_grad(set_to_none=True)

    def _decay(self, rate: float, skip: Tensor | None) -> None:
        """Decays the weights at a rate that is not AdamW's own, and leaves AdamW nothing to decay."""
        for group in self.adamw.param_groups:
            factor = rate * group["pace"] * group["weight_decay"] * (1.0 if skip is None else 1 - skip)
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            with torch.no_grad():
                torch._foreach_mul_(moved, 1 - factor)
            group["weight_decay"] = 0.0

    def probe(self, pace: float = 1.0) -> RateProbe:
        """Remembers some weights that have a gradient, to measure the rate of the next step from what it did."""
        return RateProbe(self, pace)

    def state(self) -> dict[str, Tensor]:
        """The moments and step counts by parameter name, as flat names to tensors."""
        return {
            f"{kind}.{name}": value
            for name, parameter in self.named.items()
            for kind, value in self.adamw.state.get(parameter, {}).items()
        }

    def load(self, state: Mapping[str, Tensor], policy: Policy = "keep") -> None:
        """Takes over a saved state: all of it, none of it, or the second moments and step counts only."""
        if policy == "reset":
            return
        for name, parameter in self.named.items():
            if f"exp_avg_sq.{name}" not in state:
                continue
            first = state[f"exp_avg.{name}"]
            self.adamw.state[parameter] = {
                "step": state[f"step.{name}"].to(parameter.device, torch.float32).clone(),
                "exp_avg": (first if policy == "keep" else torch.zeros_like(first)).to(parameter.device).clone(),
                "exp_avg_sq": state[f"exp_avg_sq.{name}"].to(parameter.device).clone(),
            }

    def begin(self, second: Mapping[str, Tensor]) -> None:
        """Second moments that are known before the first update, by parameter; first moments stay what they are.

        Steps count from where moments are hardly corrected any more for having begun at zero: these have not.
        """
        if not second:
            return
        state = self.state()
        for name, value in second.items():
            state[f"exp_avg_sq.{name}"] = value
            state[f"step.{name}"] = torch.tensor(self._settled())
            state.setdefault(f"exp_avg.{name}", torch.zeros_like(value))
        self.load(state)

    def _settled(self) -> float:
        """After so many updates 0.1 % of a second moment is still what it began with."""
        beta = self.options.betas[1]
        return 1.0 if beta == 0 else float(math.ceil(math.log(1e-3) / math.log(beta)))


class RateProbe:
    """Measures the learning rate of one update from the weights themselves, whatever was configured.

    It looks at the end of the parameter that has most gradients there: rows of an embedding whose tokens do not occur
    would hardly move, and could not tell.
    """

    def __init__(self, optimizer: Optimizer, pace: float = 1.0) -> None:
        self.optimizer = optimizer
        self.pace = pace
        self.parameter = max(optimizer.named.values(), key=self._gradients)
        self.before = self._slice(self.parameter.detach()).double().clone()

    @staticmethod
    def _slice(tensor: Tensor) -> Tensor:
        return tensor.flatten()[-PROBED:]

    @classmethod
    def _gradients(cls, parameter: nn.Parameter) -> int:
        return -1 if parameter.grad is None else int(torch.count_nonzero(cls._slice(parameter.grad)))

    def _direction(self) -> Tensor:
        """What the update would be at rate -1, from the moments after it."""
        state = self.optimizer.adamw.state[self.parameter]
        beta1, beta2 = self.optimizer.options.betas
        count = float(state["step"])
        first = self._slice(state["exp_avg"]).double() / (1 - beta1**count)
        second = self._slice(state["exp_avg_sq"]).double() / (1 - beta2**count)
        decay = next(
            group["weight_decay"]
            for group in self.optimizer.adamw.param_groups
            if any(parameter is self.parameter for parameter in group["params"])
        )
        adam = first / (second.sqrt() + self.optimizer.options.epsilon)
        direction: Tensor = decay * self.before + self.pace * adam
        return direction

    def measured(self) -> float:
        """The rate that explains the update since this probe was made (least squares over the slice), 0 if none did."""
        direction = self._direction()
        moved = self.before - self._slice(self.parameter.detach()).double()
        length = float((direction * direction).sum())
        return float((moved * direction).sum()) / length if length else 0.0

    def rounding(self) -> float:
        """How far off `measured` may be because weights are rounded at each operation; infinite where nothing moved.

        An update rounds three times, each by half a unit in the last place: a rate of 1e-8 is lost in that.
        """
        direction = self._direction()
        error = 2 * torch.finfo(self.parameter.dtype).eps * self.before.abs()
        length = float((direction * direction).sum())
        return float((error * direction.abs()).sum()) / length if length else float("inf")
