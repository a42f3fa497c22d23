"""RecAdam: lambda, the pull and its limits, three steps by hand, and AdamW where lambda is 1."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rewarm.models.load import weights_hash
from rewarm.retention import Keeper
from rewarm.retention.recadam import RecAdam
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.optimizer import AdamWOptions, Optimizer

Make = Callable[..., Any]


def two_weights(first: float, second: float) -> nn.Linear:
    """A model of two weights in float64."""
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[first, second]], dtype=torch.float64))
    return model


def stepped(
    model: nn.Linear, optimizer: Optimizer, keeper: Keeper, step: int, rate: float, grad: Tensor
) -> list[float]:
    """The weights after one update, in the loop's order."""
    keepers = Keepers({"recadam": keeper})
    model.weight.grad = grad.clone()
    optimizer.step(rate, None, keepers.pace(step))
    keepers.update(step, rate)
    return [float(value) for value in model.weight.detach().flatten()]


def test_three_steps_by_hand(make_scene: Make) -> None:
    """Plain arithmetic from the formula: decay at the whole rate, lambda x Adam, then the pull."""
    center, width, pull, decay, beta1, beta2, epsilon = 2, 1, 3.0, 0.1, 0.9, 0.95, 1e-8
    rates, grads = [0.1, 0.05, 0.2], [[0.5, -2.0], [0.1, 1.0], [-1.0, 0.3]]
    theta, anchor, first, second = [1.0, -1.0], [1.0, -1.0], [0.0, 0.0], [0.0, 0.0]
    model = two_weights(*theta)
    keeper = RecAdam(center=center, width=width, pull=pull).keeper(make_scene(model, steps=3), {})
    optimizer = Optimizer(model, AdamWOptions(decay, (beta1, beta2), epsilon, 1.0))
    for n, (rate, grad) in enumerate(zip(rates, grads, strict=True), start=1):
        lam = 1 / (1 + math.exp(-(n - center) / width))
        share = min(1.0, rate * (1 - lam) * pull)
        for i in range(2):
            first[i] = beta1 * first[i] + (1 - beta1) * grad[i]
            second[i] = beta2 * second[i] + (1 - beta2) * grad[i] ** 2
            adam = first[i] / (1 - beta1**n) / (math.sqrt(second[i] / (1 - beta2**n)) + epsilon)
            moved = theta[i] * (1 - rate * decay) - rate * lam * adam
            theta[i] = moved - share * (moved - anchor[i])
        found = stepped(model, optimizer, keeper, n - 1, rate, torch.tensor([grad], dtype=torch.float64))
        assert found == pytest.approx(theta, rel=1e-12)


def test_lambda_follows_the_sigmoid_and_saturates(make_scene: Make) -> None:
    """The paper's center and k: a half at update 250, 1 / (1 + e) two updates before it."""
    keeper = RecAdam(center=250, width=2).keeper(make_scene(two_weights(0, 0), steps=1000), {})
    assert keeper.pace(249) == 0.5
    assert keeper.pace(247) == pytest.approx(1 / (1 + math.e), rel=1e-12)
    assert keeper.pace(251) == pytest.approx(math.e / (1 + math.e), rel=1e-12)
    assert (keeper.pace(0), keeper.pace(999)) == (0.0, 1.0)
    shares = RecAdam(center="25%", width="10%").keeper(make_scene(two_weights(0, 0), steps=40), {})  # type: ignore[arg-type]
    assert shares.pace(9) == 0.5
    assert shares.pace(13) == pytest.approx(math.e / (1 + math.e), rel=1e-12)


def test_a_very_wide_sigmoid_holds_a_half(make_scene: Make) -> None:
    keeper = RecAdam(width=1_000_000).keeper(make_scene(two_weights(0, 0), steps=1000), {})
    assert all(keeper.pace(step) == pytest.approx(0.5, abs=3e-4) for step in range(0, 1000, 100))


@pytest.mark.parametrize("options", [{"center": None}, {"center": 1e-9, "width": 1e-9}], ids=["off", "saturated"])
def test_lambda_one_is_adamw_bit_for_bit(
    options: dict[str, Any], leg: Leg, make_tiny: Make, make_scene: Make, fit: Make
) -> None:
    plain, held = make_tiny("gpt2"), make_tiny("gpt2")
    method = RecAdam(**options)
    assert {method.keeper(make_scene(held, "gpt2"), {}).pace(step) for step in range(12)} == {1.0}
    fit(plain, None, family="gpt2")
    fit(held, method, dataclasses.replace(leg, folder=leg.folder.with_name("held")), family="gpt2")
    assert weights_hash(held) == weights_hash(plain)


def test_lambda_zero_at_the_anchor_leaves_the_weights_fixed(make_scene: Make) -> None:
    model = two_weights(0.7, -1.3)
    keeper = RecAdam(center=1000, width=1).keeper(make_scene(model, steps=2000), {})
    optimizer = Optimizer(model, AdamWOptions(0.0, (0.9, 0.95), 1e-8, 1.0))
    for step in range(5):
        assert stepped(model, optimizer, keeper, step, 1e-3, torch.tensor([[3.0, -4.0]]).double()) == [0.7, -1.3]


@pytest.mark.parametrize("rate", [2e-4, 1e-3, 0.1])
def test_the_pull_stops_at_the_anchor(rate: float, make_scene: Make) -> None:
    """Unclamped, a rate of 1e-3 x 5000 would multiply the distance by -4."""
    model = two_weights(1.0, 2.0)
    keeper = RecAdam(center=1000, width=1).keeper(make_scene(model, steps=2000), {})
    with torch.no_grad():
        model.weight.add_(0.5)
    keeper.update(0, rate)
    assert [float(value) for value in model.weight.detach().flatten()] == [1.0, 2.0]


def test_the_pull_below_the_limit(make_scene: Make) -> None:
    """rate x (1 - lambda) x pull = 0.1 x 0.5 x 4 = a fifth of the way from 3 to 1."""
    model = two_weights(1.0, 1.0)
    keeper = RecAdam(center=1, width=1, pull=4.0).keeper(make_scene(model, steps=4), {})
    with torch.no_grad():
        model.weight.add_(2.0)
    keeper.update(0, 0.1)
    assert [float(value) for value in model.weight.detach().flatten()] == pytest.approx([2.6, 2.6], rel=1e-12)
    assert keeper.readings() == pytest.approx({"lambda": 0.5, "distance": 1.6 * math.sqrt(2)})


def test_the_base_and_the_control_are_other_anchors(make_tiny: Make, make_scene: Make) -> None:
    """At lambda 0 one update ends at the anchor: the start, the base, or the start's values at other places."""
    name, ends = "model.layers.0.mlp.up_proj.weight", {}
    for anchor in ("start", "base", "random"):
        model = make_tiny("llama", seed=7)
        keeper = RecAdam(center=1000, width=1, anchor=anchor).keeper(make_scene(model, steps=2000), {})  # type: ignore[arg-type]
        assert keeper.reached == 1.0
        keeper.update(0, 1e-3)
        ends[anchor] = dict(model.named_parameters())[name].detach()
    start, base = (dict(make_tiny("llama", seed=seed).named_parameters())[name].detach() for seed in (7, 0))
    assert torch.equal(ends["start"], start)
    assert torch.equal(ends["base"], base)
    assert not torch.equal(ends["random"], start)
    assert torch.equal(ends["random"].flatten().sort().values, start.flatten().sort().values)
    assert RecAdam(pull=7).control() == RecAdam(pull=7, anchor="random")
