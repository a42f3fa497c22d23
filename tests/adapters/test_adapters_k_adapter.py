"""The chain of blocks against its formula, where the blocks read, and two adapters side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.adapters.k_adapter import KAdapter
from rewarm.types import UserError

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("options", "count", "places"),
    [
        ({}, 24, (1, 24)),
        ({"blocks": 3}, 24, (1, 12, 24)),
        ({"blocks": 1}, 24, (24,)),
        ({"layers": (1, 11)}, 36, (1, 11)),  # CKL's GPT-2 large
    ],
)
def test_blocks_are_spread_from_the_first_layer_to_the_last(
    options: dict[str, Any], count: int, places: tuple[int, ...]
) -> None:
    assert KAdapter(**options).places(count) == places


@pytest.mark.parametrize("options", [{"blocks": 3}, {"layers": (2, 1)}, {"layers": (1, 1)}, {"layers": (3,)}])
def test_layers_that_are_not_there_are_refused(options: dict[str, Any], make_tiny: Make) -> None:
    with pytest.raises(UserError, match=r"cannot be had in a model of 2\. Give layers from 1 to 2 in rising order"):
        KAdapter(**options).attach(make_tiny("llama"), 0)


def test_it_computes_its_formula(make_tiny: Make) -> None:
    """a_1 = Block_1(h_1), a_2 = Block_2(h_2 + a_1), and scale x LN(a_2) on the last hidden state."""
    plain, model = make_tiny("llama"), make_tiny("llama")
    KAdapter(scale=0.3).attach(model, 0)
    chain = model.adapters[0]
    torch.nn.init.normal_(chain.norm.weight)
    torch.nn.init.normal_(chain.norm.bias)
    tokens_BT = torch.arange(3, 19)[None]
    outputs: list[torch.Tensor] = []
    for layer in plain.model.layers:
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        last_BTD = plain.model(input_ids=tokens_BT, use_cache=False).last_hidden_state
        found_BTD = model.model(input_ids=tokens_BT, use_cache=False).last_hidden_state
        angles = plain.model.rotary_emb(last_BTD, torch.arange(16)[None])
        first_BTD = chain.blocks[0](outputs[0], position_embeddings=angles)
        second_BTD = chain.blocks[1](outputs[1] + first_BTD, position_embeddings=angles)
        wanted_BTD = last_BTD + 0.3 * chain.norm(second_BTD)
    assert torch.allclose(found_BTD, wanted_BTD, atol=1e-5)
    assert not torch.allclose(found_BTD, last_BTD, atol=1e-2)


def test_blocks_are_of_the_kind_of_the_layer_they_read_and_have_numbers_of_their_own(make_tiny: Make) -> None:
    """Under its number a cache holds a block's keys: those of two adapters must not meet."""
    model = make_tiny("gemma2")
    for _ in range(2):
        KAdapter().attach(model, 0)
    blocks = [block for chain in model.adapters for block in chain.blocks]
    assert [block.self_attn.layer_idx for block in blocks] == [2, 3, 4, 5]
    assert [block.self_attn.sliding_window for block in blocks] == [8, None, 8, None]
    assert all(block.self_attn.config is model.config for block in blocks)
    assert not torch.equal(blocks[0].mlp.up_proj.weight, blocks[1].mlp.up_proj.weight)


def test_no_gradient_goes_through_the_frozen_layers(make_tiny: Make) -> None:
    """Neither to their weights nor to what they keep for it: their outputs need none."""
    model = make_tiny("llama")
    KAdapter().attach(model, 0)
    model(input_ids=torch.arange(3, 19)[None], use_cache=False).logits.sum().backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient
    assert all(name.startswith("adapters.0.") for name in with_gradient)
