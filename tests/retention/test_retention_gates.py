"""Gates: their gradient, the mean over samples, the stand-in by two dropout passes, and how layers are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.objectives.packed_loss import PackedLoss
from rewarm.retention import Scene, Tensors
from rewarm.retention.gates import (
    dropout_importance,
    dropped,
    gated,
    importance,
    inputs_of,
    normalised,
    text_importance,
)
from rewarm.retention.penalty import permuted
from rewarm.retention.units import find_units
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch, UserError

Make = Callable[..., Any]


def quiet(done: int) -> None:
    """Progress that nobody reads."""


def sharp(model: Any) -> Any:
    """Fresh models predict everything alike; with larger weights their units differ clearly."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter *= 4
    return model


def ones(model: Any) -> Tensors:
    return {some.name: torch.ones(some.count) for some in find_units(model)}


def own_loss(model: Any) -> Callable[[Batch], Tensor]:
    """The mean cross-entropy of a row by torch alone, from the model's logits."""

    def loss(batch: Batch) -> Tensor:
        logits_BTV = model(**inputs_of(model, batch)).logits
        found = functional.cross_entropy(logits_BTV.flatten(0, 1), batch.targets_BT.flatten(), ignore_index=NO_TARGET)
        return found

    return loss


def test_gates_of_one_change_nothing_and_leave_nothing(family: str, make_tiny: Make, make_scene: Make) -> None:
    model = make_tiny(family)
    (batch,) = make_scene(model).rows("new", 1)
    with torch.no_grad():
        plain = model(**inputs_of(model, batch)).logits
        with gated(find_units(model), ones(model)):
            assert torch.equal(model(**inputs_of(model, batch)).logits, plain)
        with gated(find_units(model), {name: 0 * gate for name, gate in ones(model).items()}):
            assert not torch.equal(model(**inputs_of(model, batch)).logits, plain)
        with dropped(find_units(model), 0.5):
            assert not torch.equal(model(**inputs_of(model, batch)).logits, plain)
        assert torch.equal(model(**inputs_of(model, batch)).logits, plain)


@pytest.mark.parametrize("name", ["llama", "gpt-neox", "gpt2", "gemma2"])
def test_the_gradient_of_a_gate_is_the_finite_difference(name: str, make_tiny: Make, make_scene: Make) -> None:
    model = sharp(make_tiny(name)).double()
    units, loss = find_units(model), own_loss(model)
    (batch,) = make_scene(model).rows("new", 1)
    found = importance(units, iter([batch]), loss, quiet)
    for some in units:
        strongest = int(found[some.name].argmax())
        sides = []
        for step in (1e-2, -1e-2):
            gates = {key: gate.double() for key, gate in ones(model).items()}
            gates[some.name][strongest] += step
            with torch.no_grad(), gated(units, gates):
                sides.append(float(loss(batch)))
        slope = (sides[0] - sides[1]) / 2e-2
        assert float(found[some.name][strongest]) == pytest.approx(abs(slope), rel=1e-2)
        assert abs(slope) > 1e-4


def test_the_absolute_value_is_taken_of_each_sample(make_tiny: Make, make_scene: Make) -> None:
    """The mean of |gradients|, worked out one by one, and clearly more than the |gradient| of the mean loss."""
    model = sharp(make_tiny("llama"))
    scene, units, loss = make_scene(model), find_units(model), own_loss(model)
    found = text_importance(scene, units, "new", 6)
    gates = {name: gate.requires_grad_(True) for name, gate in ones(model).items()}
    with gated(units, gates):
        slopes = [torch.autograd.grad(loss(batch), list(gates.values())) for batch in scene.rows("new", 6)]
    for number, name in enumerate(gates):
        each = torch.stack([slope[number] for slope in slopes])
        assert torch.allclose(found[name], each.abs().mean(0), rtol=1e-3, atol=1e-6)
        assert float(each.mean(0).abs().sum()) < 0.8 * float(found[name].sum())


def test_a_row_without_targets_is_no_sample(make_tiny: Make, make_scene: Make) -> None:
    model = sharp(make_tiny("llama"))
    scene, units = make_scene(model), find_units(model)
    (row,) = scene.rows("new", 1)
    empty = Batch(row.tokens_BT, torch.full_like(row.targets_BT, NO_TARGET), row.positions_BT, 0)

    def rows(text: str, count: int) -> Iterator[Batch]:
        return iter([row, empty])

    both = text_importance(dataclasses.replace(scene, rows=rows), units, "new", 2)
    one = text_importance(scene, units, "new", 1)
    assert all(torch.equal(both[name], one[name]) for name in one)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    ranks = torch.stack([value.argsort().argsort().double() for value in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])


def test_two_estimates_by_dropout_agree(make_tiny: Make, make_scene: Make) -> None:
    """The research's miniature had 0.989 between two estimates; random importances would have about 0."""
    model = sharp(make_tiny("llama"))
    scenes: list[Scene] = [make_scene(model, seed=seed) for seed in (1, 2)]
    first, second = (dropout_importance(scene, find_units(model), "new", 128, 0.1) for scene in scenes)
    assert not torch.equal(first["neurons.0"], second["neurons.0"])
    for kind in ("neurons", "outputs"):
        pairs = [(first[f"{kind}.{layer}"], second[f"{kind}.{layer}"]) for layer in (0, 1)]
        assert min(rank_correlation(*pair) for pair in pairs) > 0.8


def test_dropout_of_nothing_is_an_error_rather_than_importance(make_tiny: Make, make_scene: Make) -> None:
    """The published code measures with dropout off, and standardises the rounding of a gradient that is zero."""
    model = make_tiny("gpt2").train()  # its own dropout, of 0.1, is off meanwhile
    with pytest.raises(UserError, match=r"two passes with dropout 0\.0 predict exactly the same"):
        dropout_importance(make_scene(model, "gpt2"), find_units(model), "new", 2, 0.0)
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_phi3_with_fused_projections_is_measured(make_scene: Make) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "phi3", hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=400, pad_token_id=0,
    )  # fmt: skip
    model = sharp(AutoModelForCausalLM.from_config(config).eval())
    found = text_importance(make_scene(model), find_units(model), "new", 2)
    assert {name: len(value) for name, value in found.items() if name.endswith(".1")} == {
        "heads.1": 4, "neurons.1": 64, "outputs.1": 32,
    }  # fmt: skip
    assert all(float(value.min()) >= 0 and float(value.max()) > 0 for value in found.values())


def test_the_loss_is_that_of_the_objective_in_any_format(make_tiny: Make, make_scene: Make) -> None:
    model = sharp(make_tiny("llama"))
    (batch,) = make_scene(model).rows("new", 1)
    assert float(PackedLoss(model).loss_sum(batch, 1 / batch.num_targets).detach()) == pytest.approx(
        float(own_loss(model)(batch).detach()), rel=1e-4
    )
    exact = text_importance(make_scene(model), find_units(model), "new", 4)
    rough = text_importance(make_scene(model, precision=torch.bfloat16), find_units(model), "new", 4)
    assert rank_correlation(exact["neurons.0"], rough["neurons.0"]) > 0.95


def test_norms_by_hand() -> None:
    """Mean 3 and deviation sqrt(5): z = -3, -1, 1, 3 over sqrt(5)."""
    found = {"heads.0": torch.tensor([0.0, 2.0, 4.0, 6.0])}
    low, high = 0.4196, 0.8721  # tanh(0.44721), tanh(1.34164)
    assert normalised(found, "one-sided")["heads.0"].tolist() == pytest.approx([0, 0, low, high], abs=1e-4)
    assert normalised(found, "paper")["heads.0"].tolist() == pytest.approx([high, low, low, high], abs=1e-4)
    assert normalised(found, "rank")["heads.0"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_each_layer_and_kind_is_normalised_by_itself() -> None:
    values = torch.tensor([1.0, 2.0, 3.0])
    found = normalised({"heads.0": values, "heads.1": 1000 * values}, "one-sided")
    assert torch.allclose(found["heads.0"], found["heads.1"])


def test_units_that_matter_alike_have_the_same_rank() -> None:
    """Two dead units do not differ by their numbers."""
    assert normalised({"n": torch.tensor([3.0, 0.0, 0.0, 1.0])}, "rank")["n"].tolist() == pytest.approx(
        [1, 0, 0, 2 / 3]
    )


@pytest.mark.parametrize("norm", ["one-sided", "paper", "rank"])
@pytest.mark.parametrize("values", [[0.1] * 7, [0.0] * 3, [5.0]])
def test_units_that_are_alike_are_all_free(norm: Any, values: list[float]) -> None:
    assert normalised({"heads.0": torch.tensor(values)}, norm)["heads.0"].tolist() == [0] * len(values)


def test_the_paper_protects_units_below_the_mean_and_one_sided_does_not(make_tiny: Make, make_scene: Make) -> None:
    model = sharp(make_tiny("llama"))
    raw = text_importance(make_scene(model), find_units(model), "new", 8)["neurons.0"]
    below = raw < raw.mean()
    assert float(normalised({"n": raw}, "one-sided")["n"][below].max()) == 0
    assert float((normalised({"n": raw}, "paper")["n"][below] > 0.5).float().mean()) > 0.2


def test_permuted_importance_keeps_the_values_of_a_layer_and_kind() -> None:
    found = {"heads.0": torch.arange(4.0), "neurons.0": torch.arange(10.0, 60.0)}
    mixed = permuted(found, 3)
    assert {name: sorted(value.tolist()) for name, value in mixed.items()} == {
        name: value.tolist() for name, value in found.items()
    }
    assert not torch.equal(mixed["neurons.0"], found["neurons.0"])
    assert torch.equal(mixed["neurons.0"], permuted(found, 3)["neurons.0"])
    assert not torch.equal(mixed["neurons.0"], permuted(found, 4)["neurons.0"])
