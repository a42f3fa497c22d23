"""Where units lie in the weights of every layout, shown by what changes when their weights are turned around."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.retention.gates import gated
from rewarm.retention.units import Covered, Units, find_units, masks
from rewarm.types import UserError

Make = Callable[..., Any]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = torch.arange(3, 19)[None]


def made(model_type: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **SIZES, vocab_size=64, pad_token_id=0, **more)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture
def model(family: str, make_tiny: Make) -> Any:
    return make_tiny(family)


@pytest.fixture
def phi3() -> Any:
    """Fused queries, keys and values with two key heads for four query heads; a fused gate and projection up."""
    return made("phi3", num_key_value_heads=2)


@contextmanager
def seen(units: Units) -> Iterator[list[Tensor]]:
    """What goes into the module of units, or comes out of it: one entry (T, units, width) a pass."""
    found: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append((output if units.after else inputs[0])[0].detach().unflatten(-1, (units.count, -1)))

    handle = units.module.register_forward_hook(note)
    yield found
    handle.remove()


def changed_units(model: Any, units: Units, change: Callable[[], None]) -> set[int]:
    """The units of which anything changes; a rounding is no change."""
    with seen(units) as found, torch.no_grad():
        model(input_ids=TOKENS)
        change()
        model(input_ids=TOKENS)
    away_U = (found[1] - found[0]).abs().amax((0, 2))
    return set((away_U > 1e-4 * found[0].abs().max()).nonzero()[:, 0].tolist())


def turned_around(covered: Covered, rows: list[int]) -> Callable[[], None]:
    """Negates rows: unlike noise, that leaves the norm of the whole alone (OLMo 2 divides queries by it)."""

    def change() -> None:
        covered.parameter.data.movedim(covered.axis, 0)[rows] *= -1

    return change


def rows_of(covered: Covered, owners: tuple[int, ...]) -> list[int]:
    return [row for row, found in enumerate(covered.units_RG.tolist()) if set(found) == set(owners)]


def check_rows(model: Any, units: Units, into: list[Covered]) -> None:
    """Turning around the rows of one unit, or of the group that shares them, changes those units and no other."""
    weights = [covered for covered in into if covered.parameter.ndim == 2]
    assert weights
    for covered in weights:
        for owners in {tuple(sorted(set(found))) for found in covered.units_RG[:: len(covered.units_RG) // 4].tolist()}:
            undo = turned_around(covered, rows_of(covered, owners))
            assert changed_units(model, units, undo) == set(owners)
            undo()


def check_orientation(model: Any) -> None:
    with torch.no_grad():  # fresh models attend to everything alike: with larger weights heads differ clearly
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter *= 4
    for units in find_units(model)[:3]:
        into = [covered for covered in units.covered if not is_columns(units, covered)]
        check_rows(model, units, into)


def is_columns(units: Units, covered: Covered) -> bool:
    return not units.after and any(covered.parameter is parameter for parameter in units.module.parameters())


def test_rows_of_a_unit_change_that_unit_only(model: Any) -> None:
    check_orientation(model)


def test_rows_of_fused_projections_change_their_unit_only(phi3: Any) -> None:
    check_orientation(phi3)


def test_columns_without_weight_are_a_gate_of_zero(model: Any) -> None:
    """Columns of the output projection are the heads', and those of the projection down the neurons'."""
    for units in find_units(model, down_columns=True)[:2]:
        (covered,) = [covered for covered in units.covered if is_columns(units, covered)]
        gate = torch.ones(units.count)
        gate[1] = 0
        with torch.no_grad():
            with gated([units], {units.name: gate}):
                wanted = model(input_ids=TOKENS).logits
            covered.parameter.movedim(covered.axis, 0)[rows_of(covered, (1,))] = 0
            assert torch.allclose(model(input_ids=TOKENS).logits, wanted, atol=1e-6)


def test_every_layer_has_its_units_and_biases_go_with_rows(make_tiny: Make) -> None:
    """GPT-2 of width 32: c_attn 32 x 96 and 96, c_proj 32 x 32 by columns; c_fc 32 x 128, 128; c_proj 128 x 32, 32."""
    units = find_units(make_tiny("gpt2"))
    assert [(some.name, some.count) for some in units] == [
        ("heads.0", 4), ("neurons.0", 128), ("outputs.0", 32), ("heads.1", 4), ("neurons.1", 128), ("outputs.1", 32),
    ]  # fmt: skip
    sizes = [[covered.parameter.numel() for covered in some.covered] for some in units[:3]]
    assert sizes == [[32 * 96, 96, 32 * 32], [32 * 128, 128], [128 * 32, 32]]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("llama", {"q": [0] * 8 + [1] * 8 + [2] * 8 + [3] * 8, "k": [1] * 8 + [3] * 8}),
        ("gpt-neox", {"q": [0] * 24 + [1] * 24 + [2] * 24 + [3] * 24}),
        ("gpt2", {"q": ([0] * 8 + [1] * 8 + [2] * 8 + [3] * 8) * 3}),
    ],
)
def test_masks_by_hand(name: str, rows: dict[str, list[float]], make_tiny: Make) -> None:
    """With the head's number as its value: a key row of llama serves heads 0 and 1, or 2 and 3, and gets the larger."""
    model = make_tiny(name)
    units = [some for some in find_units(model) if some.name == "heads.0"]
    laid = masks(units, {"heads.0": torch.arange(4.0)})
    weights = [covered.parameter for covered in units[0].covered if covered.parameter.ndim == 2]
    for wanted, parameter in zip(rows.values(), weights, strict=False):
        assert laid[parameter].flatten().tolist() == wanted
    columns = laid[weights[-1]]
    assert columns.flatten().tolist() == [0] * 8 + [1] * 8 + [2] * 8 + [3] * 8
    assert columns.shape == ((32, 1) if name == "gpt2" else (1, 32))


def test_masks_of_fused_projections_by_hand(phi3: Any) -> None:
    heads, neurons = find_units(phi3)[:2]
    laid = masks([heads, neurons], {"heads.0": torch.arange(4.0), "neurons.0": torch.arange(64.0)})
    values = [mask.flatten().tolist() for mask in laid.values()]
    queries, keys = [0] * 8 + [1] * 8 + [2] * 8 + [3] * 8, [1] * 8 + [3] * 8
    assert values[0] == queries + keys + keys
    assert values[2] == [*range(64), *range(64)]


def test_a_weight_of_two_units_gets_the_larger_value(make_tiny: Make) -> None:
    units = find_units(make_tiny("llama"), down_columns=True)[1:3]
    laid = masks(units, {"neurons.0": torch.linspace(0, 1, 64), "outputs.0": torch.linspace(0, 1, 32)})
    (down,) = [mask for mask in laid.values() if mask.shape == (32, 64)]
    assert down[0].tolist() == pytest.approx(torch.linspace(0, 1, 64).tolist())
    assert down[31].tolist() == [1] * 64
    assert float(down[16, 0]) == pytest.approx(16 / 31)


def test_what_does_not_train_has_no_mask(make_tiny: Make) -> None:
    model = make_tiny("qwen2")
    model.requires_grad_(False)
    first = model.model.layers[0].self_attn.q_proj
    first.weight.requires_grad_(True)
    units = find_units(model)
    values = {some.name: torch.ones(some.count) for some in units}
    assert list(masks(units, values)) == [first.weight]


def test_projections_of_an_adapter_are_found_and_its_frozen_weights_have_no_mask(make_tiny: Make) -> None:
    model = make_tiny("qwen2")
    plain = [(some.name, some.count) for some in find_units(model)]
    model = inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), model)
    units = find_units(model)
    assert [(some.name, some.count) for some in units] == plain
    assert masks(units, {some.name: torch.ones(some.count) for some in units}) == {}


def test_a_model_of_experts_is_refused_by_what_was_not_found() -> None:
    with pytest.raises(
        UserError, match=r"found 2 attention and 0 feed-forward modules.*gate_proj, up_proj with down_proj"
    ):
        find_units(made("mixtral", num_key_value_heads=2, num_local_experts=2))


def test_rows_that_do_not_divide_among_heads_are_refused(make_tiny: Make) -> None:
    model = make_tiny("llama")
    model.model.layers[1].self_attn.q_proj = nn.Linear(32, 40)
    with pytest.raises(UserError, match="'q_proj' of layer 1 has 40 rows"):
        find_units(model)
