"""AdamW against arithmetic by hand; state across stages; the rate measured from the weights."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from rewarm.training.optimizer import AdamWOptions, Optimizer

OPTIONS = AdamWOptions(weight_decay=0.1, betas=(0.9, 0.95), epsilon=1e-8, max_grad_norm=1.0)


def linear() -> nn.Linear:
    """Two weights that decay and one bias that does not."""
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0]]))
        layer.bias.copy_(torch.tensor([0.5]))
    return layer


def give(layer: nn.Linear, gradient: float) -> None:
    """The same gradient for every parameter."""
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, gradient)


def test_five_steps_equal_adamw_by_hand() -> None:
    layer = linear()
    optimizer = Optimizer(layer, OPTIONS)
    expected = {"weight": [1.0, -2.0], "bias": [0.5]}
    first, second = 0.0, 0.0
    for step, gradient in enumerate([0.3, -0.1, 0.2, 0.4, -0.5], start=1):
        rate = 0.01 * step
        give(layer, gradient)
        optimizer.step(rate)
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        moved = (first / (1 - 0.9**step)) / (math.sqrt(second / (1 - 0.95**step)) + 1e-8)
        expected["weight"] = [value - rate * 0.1 * value - rate * moved for value in expected["weight"]]
        expected["bias"] = [value - rate * moved for value in expected["bias"]]
    assert layer.weight.flatten().tolist() == pytest.approx(expected["weight"], rel=1e-5)
    assert layer.bias.tolist() == pytest.approx(expected["bias"], rel=1e-5)


def test_clipping_scales_all_gradients_to_the_norm() -> None:
    layer = linear()
    optimizer = Optimizer(layer, OPTIONS)
    give(layer, 2.0)
    assert float(optimizer.clip()) == pytest.approx(2.0 * math.sqrt(3))
    assert float(torch.cat([layer.weight.grad.flatten(), layer.bias.grad]).norm()) == pytest.approx(1.0, rel=1e-4)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("policy", "first", "second"), [("keep", 1.0, 1.0), ("keep-second-moment", 0.0, 1.0), ("reset", None, None)]
)
def test_state_between_stages(policy: str, first: float | None, second: float | None) -> None:
    layer = linear()
    before = Optimizer(layer, OPTIONS)
    for gradient in (0.3, -0.2):
        give(layer, gradient)
        before.step(0.01)
    saved = copy.deepcopy(before.state())
    after = Optimizer(layer, OPTIONS)
    after.load(saved, policy)  # type: ignore[arg-type]
    state = after.state()
    if first is None or second is None:
        assert state == {}
        return
    for name in ("weight", "bias"):
        assert torch.equal(state[f"exp_avg.{name}"], first * saved[f"exp_avg.{name}"])
        assert torch.equal(state[f"exp_avg_sq.{name}"], second * saved[f"exp_avg_sq.{name}"])
        assert float(state[f"step.{name}"]) == 2


def test_the_probe_measures_the_rate_from_the_weights() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    optimizer = Optimizer(layer, OPTIONS)
    for rate in (1e-3, 3e-4, 1e-5):
        for parameter in layer.parameters():
            parameter.grad = torch.randn_like(parameter)
        probe = optimizer.probe()
        optimizer.step(rate)
        assert probe.measured() == pytest.approx(rate, rel=1e-3)


def test_the_probe_sees_a_rate_that_was_not_asked_for() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    optimizer = Optimizer(layer, OPTIONS)
    for parameter in layer.parameters():
        parameter.grad = torch.randn_like(parameter)
    probe = optimizer.probe()
    for group in optimizer.adamw.param_groups:
        group["lr"] = 5e-4
    optimizer.adamw.step()
    assert probe.measured() == pytest.approx(5e-4, rel=1e-3)
