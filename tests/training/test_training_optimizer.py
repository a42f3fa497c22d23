"""AdamW against arithmetic by hand; state across stages; the rate measured from the weights."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from rewarm.training.optimizer import AdamWOptions, Optimizer, RateProbe

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


def test_vectors_do_not_decay_and_frozen_weights_are_no_part_of_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Embedding(3, 4))
    model[0].weight.requires_grad_(False)
    optimizer = Optimizer(model, OPTIONS)
    decayed, plain = optimizer.adamw.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert {id(parameter) for parameter in decayed["params"]} == {id(model[2].weight)}
    assert {id(parameter) for parameter in plain["params"]} == {
        id(model[0].bias), id(model[1].weight), id(model[1].bias)
    }  # fmt: skip


def test_state_goes_on_exactly() -> None:
    """Five updates in one go, or three, saved, loaded into another optimizer, and two more: the same bits."""
    torch.manual_seed(0)
    gradients = [torch.randn(3, 2) for _ in range(5)]

    def updated(layer: nn.Linear, optimizer: Optimizer, chosen: list[torch.Tensor]) -> None:
        for gradient in chosen:
            layer.weight.grad, layer.bias.grad = gradient.clone(), gradient[:, 0].clone()
            optimizer.step(0.01)

    whole, broken = nn.Linear(2, 3), nn.Linear(2, 3)
    broken.load_state_dict(whole.state_dict())
    updated(whole, Optimizer(whole, OPTIONS), gradients)
    first = Optimizer(broken, OPTIONS)
    updated(broken, first, gradients[:3])
    second = Optimizer(broken, OPTIONS)
    second.load(first.state())
    updated(broken, second, gradients[3:])
    assert torch.equal(whole.weight, broken.weight)
    assert torch.equal(whole.bias, broken.bias)


@pytest.mark.parametrize("gradient", [0.3, float("nan"), float("inf")])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_skipped_update_leaves_every_bit(steps: int, gradient: float) -> None:
    """Weights, moments and step counts, whatever the gradient; the next update is the one that would have been made."""
    layers = [linear(), linear()]
    skipping, plain = (Optimizer(layer, OPTIONS) for layer in layers)
    for layer, optimizer in zip(layers, (skipping, plain), strict=True):
        for _ in range(steps):
            give(layer, 0.2)
            optimizer.step(0.01)
    give(layers[0], gradient)
    skipping.step(0.01, torch.ones(()))
    assert layers[0].weight.grad is None
    state, wanted = skipping.state(), plain.state()
    assert all(torch.equal(value, wanted.get(name, torch.zeros_like(value))) for name, value in state.items())
    assert all(torch.equal(*pair) for pair in zip(layers[0].parameters(), layers[1].parameters(), strict=True))
    for layer, optimizer in zip(layers, (skipping, plain), strict=True):
        give(layer, -0.4)
        optimizer.step(0.01, torch.zeros(()))
    assert float(skipping.state()["step.weight"]) == steps + 1
    assert all(torch.equal(value, plain.state()[name]) for name, value in skipping.state().items())
    assert all(torch.equal(*pair) for pair in zip(layers[0].parameters(), layers[1].parameters(), strict=True))
    assert not torch.equal(layers[0].bias, linear().bias)


def probed(layer: nn.Module, rate: float, decay: float = 0.1) -> RateProbe:
    """The probe of one update at `rate` with random gradients where there are none."""
    optimizer = Optimizer(layer, AdamWOptions(decay, (0.9, 0.95), 1e-8, 1.0))
    for parameter in layer.parameters():
        if parameter.grad is None:
            parameter.grad = torch.randn_like(parameter)
    probe = optimizer.probe()
    optimizer.step(rate)
    return probe


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 3e-4, 1e-5, 0.0])
def test_the_probe_measures_the_rate_from_the_weights(rate: float) -> None:
    torch.manual_seed(0)
    assert probed(nn.Linear(64, 64), rate).measured() == pytest.approx(rate, rel=1e-3)


def test_the_probe_measures_a_whole_schedule() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    optimizer = Optimizer(layer, OPTIONS)
    for step in range(40):
        rate = 1e-3 * min(1.0, (step + 1) / 10) * (0.5 + 0.5 * math.cos(math.pi * step / 40))
        for parameter in layer.parameters():
            parameter.grad = torch.randn_like(parameter)
        probe = optimizer.probe()
        optimizer.step(rate)
        assert probe.measured() == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("rate", [1e-7, 1e-8, 1e-9, 1e-12])
def test_a_rate_lost_in_rounding_is_no_lie(rate: float) -> None:
    """Warmups and decays pass through rates that fp32 weights round away; at usual ones rounding excuses nothing."""
    torch.manual_seed(0)
    probe = probed(nn.Linear(64, 64), rate)
    assert abs(probe.measured() - rate) <= 1e-3 * rate + probe.rounding()
    usual = probed(nn.Linear(64, 64), 1e-3)
    assert usual.rounding() < 1e-3 * 1e-3


def test_the_probe_looks_where_weights_move() -> None:
    """The largest matrix is an embedding whose last rows are tokens that did not occur, and nothing decays."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(1000, 16), nn.Linear(16, 16))
    model[0].weight.grad = torch.zeros_like(model[0].weight)
    model[0].weight.grad[:20] = torch.randn(20, 16)
    probe = probed(model, 1e-3, decay=0.0)
    assert probe.parameter is model[1].weight
    assert probe.measured() == pytest.approx(1e-3, rel=1e-3)


def test_where_nothing_moves_nothing_is_claimed() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.grad, layer.bias.grad = torch.zeros(2, 2), torch.zeros(2)
    probe = probed(layer, 1e-3, decay=0.0)
    assert probe.measured() == 0.0
    assert probe.rounding() == math.inf


def test_the_probe_sees_a_rate_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something between us and the update sets another rate, as a scheduler of a library would."""
    torch.manual_seed(0)
    honest = torch.optim.AdamW.step

    def tampered(self: torch.optim.AdamW, *arguments: object) -> object:
        for group in self.param_groups:
            group["lr"] = 5e-4
        return honest(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", tampered)
    probe = probed(nn.Linear(64, 64), 1e-3)
    assert probe.measured() == pytest.approx(5e-4, rel=1e-3)
    assert probe.rounding() < 1e-6
