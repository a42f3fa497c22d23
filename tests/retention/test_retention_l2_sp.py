"""L2-SP: the penalty and its gradient by hand, what it is pulled to, and that what it holds moves less."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.retention.l2_sp import L2SP
from rewarm.retention.penalty import Penalty, copies
from rewarm.training import journal
from rewarm.training.leg import Leg
from rewarm.types import UserError

Make = Callable[..., Any]


def test_the_gradient_is_that_of_the_penalty(make_tiny: Make) -> None:
    model = make_tiny("llama-tied")
    anchors = copies(model)
    weights = {name: torch.rand_like(anchor) for name, anchor in anchors.items() if "mlp" in name}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    penalty = Penalty(model, 3.0, anchors, weights)
    parameters = dict(model.named_parameters())
    value = sum((weights[name] * (parameters[name] - anchors[name]).square()).sum() for name in weights)
    wanted = torch.autograd.grad(3.0 / 2 * value, [parameters[name] for name in weights])
    kept = {name: torch.ones_like(parameter) for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        parameter.grad = kept[name].clone() if "gate" not in name else None
    penalty.gradients(0)
    for name, gradient in zip(weights, wanted, strict=True):
        assert torch.allclose(parameters[name].grad, gradient + (0 if "gate" in name else 1), atol=1e-6)
    assert all(torch.equal(parameters[name].grad, kept[name]) for name in parameters if name not in weights)
    assert penalty.readings()["penalty"] == pytest.approx(float(1.5 * value.detach()), rel=1e-5)
    away = sum(float((parameters[name] - anchors[name]).square().sum()) for name in parameters) ** 0.5
    assert penalty.readings()["distance"] == pytest.approx(away, rel=1e-5)
    total = sum(parameter.numel() for parameter in parameters.values())
    assert penalty.reached == pytest.approx(sum(weight.numel() for weight in weights.values()) / total, rel=1e-3)


def test_at_the_anchor_there_is_no_penalty_and_no_gradient(make_tiny: Make, make_scene: Make) -> None:
    model = make_tiny("gpt2")
    keeper = L2SP(strength=10).keeper(make_scene(model, "gpt2"), {})
    keeper.gradients(0)
    assert keeper.readings() == {"penalty": 0, "distance": 0}
    assert not any(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(("strength", "most"), [(1.0, 0.9), (30.0, 0.5)])
def test_a_stronger_pull_keeps_the_weights_nearer(
    strength: float, most: float, leg: Leg, make_tiny: Make, fit: Make
) -> None:
    start = make_tiny("llama")
    moved = []
    for name, method in (("plain", L2SP(strength=0)), ("held", L2SP(strength=strength))):
        model = make_tiny("llama")
        fit(model, method, dataclasses.replace(leg, folder=leg.folder.with_name(name)))
        moved.append(journal.read(leg.folder.with_name(name) / "journal.jsonl")[-1]["retention"]["l2-sp"]["distance"])
        pairs = zip(model.parameters(), start.parameters(), strict=True)
        away = sum(float((one - other).square().sum()) for one, other in pairs) ** 0.5
        assert moved[-1] == pytest.approx(away, rel=1e-4)
    assert moved[1] < most * moved[0]


def test_what_it_is_pulled_to(make_tiny: Make, make_scene: Make) -> None:
    """`base` is the untouched base, not where the stage starts; `random` has the same values at other places."""
    model = make_tiny("llama", seed=5)
    base = dict(make_tiny("llama").named_parameters())
    start, random = (L2SP(anchor=anchor).keeper(make_scene(model), {}) for anchor in ("start", "random"))
    held = L2SP(anchor="base").keeper(make_scene(model), {})
    for name, parameter in model.named_parameters():
        assert torch.equal(start.anchors[name], parameter)
        assert torch.equal(held.anchors[name], base[name])
        assert torch.equal(random.anchors[name].flatten().sort()[0], parameter.flatten().sort()[0])
    assert not torch.equal(random.anchors["lm_head.weight"], model.lm_head.weight)
    assert L2SP(strength=0.3).control() == L2SP(strength=0.3, anchor="random")


def test_a_base_with_other_layers_is_no_anchor(make_tiny: Make, make_scene: Make, tiny_configs: Any) -> None:
    from rewarm.adapters.block_expansion import BlockExpansion

    model = make_tiny("llama")
    BlockExpansion(blocks=1).attach(model, 0)
    L2SP().keeper(make_scene(model), {})
    with pytest.raises(UserError, match="the model has 3 layers, the base 2"):
        L2SP(anchor="base").keeper(make_scene(model), {})
