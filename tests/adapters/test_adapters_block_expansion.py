"""Where new blocks go, what is 0 in them, and what the configuration says afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.adapters.block_expansion import BlockExpansion, _identity
from rewarm.adapters.k_adapter import KAdapter
from rewarm.models.decoder import decoder_layers
from rewarm.types import UserError

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("blocks", "layers", "places"),
    [
        (8, 32, {3, 7, 11, 15, 19, 23, 27, 31}),  # the paper's Llama 2, 32 to 40
        (None, 32, {3, 7, 11, 15, 19, 23, 27, 31}),
        (None, 2, {1}),
        (2, 2, {0, 1}),
        (2, 5, {1, 4}),
    ],
)
def test_blocks_are_spread_evenly(blocks: int | None, layers: int, places: set[int]) -> None:
    assert BlockExpansion(blocks=blocks).places(layers) == places


def test_one_expansion_serves_the_run() -> None:
    assert BlockExpansion().one_for == "run"


@pytest.mark.parametrize(
    ("kind", "zeros"),
    [
        ("llama", ["mlp.down_proj.weight", "self_attn.o_proj.weight"]),
        ("gpt2", ["attn.c_proj.bias", "attn.c_proj.weight", "mlp.c_proj.bias", "mlp.c_proj.weight"]),
        ("gpt-neox", ["attention.dense.bias", "attention.dense.weight", "mlp.dense_4h_to_h.bias",
                      "mlp.dense_4h_to_h.weight"]),
        ("olmo2", ["mlp.down_proj.weight", "self_attn.o_proj.weight"]),
    ],
)  # fmt: skip
def test_both_outputs_are_0_and_the_rest_is_a_copy(kind: str, zeros: list[str], make_tiny: Make) -> None:
    model = make_tiny(kind)
    with torch.no_grad():  # biases begin at 0 in a fresh model, where zeroing them could not be seen
        for parameter in model.parameters():
            parameter.add_(0.01)
    BlockExpansion(blocks=1).attach(model, 0)
    layers = decoder_layers(model)[1]
    assert len(layers) == 3
    old, new = dict(layers[1].named_parameters()), dict(layers[2].named_parameters())
    assert sorted(name for name, value in new.items() if not value.any()) == zeros
    assert all(torch.equal(new[name], old[name]) for name in new if name not in zeros)
    assert all(value.requires_grad for value in new.values())
    assert not any(value.requires_grad for value in old.values())


def test_numbers_and_kinds_of_attention_follow(make_tiny: Make) -> None:
    model = make_tiny("gemma2")
    assert model.config.layer_types == ["sliding_attention", "full_attention"]
    BlockExpansion(blocks=2).attach(model, 0)
    assert model.config.num_hidden_layers == 4
    assert model.config.layer_types == ["sliding_attention"] * 2 + ["full_attention"] * 2
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == [0, 1, 2, 3]
    assert [layer.self_attn.sliding_window for layer in model.model.layers] == [8, 8, None, None]
    assert all(layer.self_attn.config is model.config for layer in model.model.layers)


def test_all_may_train(make_tiny: Make) -> None:
    model = make_tiny("llama")
    BlockExpansion(train="all").attach(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_would_not_stay_equal_is_refused(make_tiny: Make) -> None:
    with pytest.raises(UserError, match="blocks 3 are more than the model's 2 layers"):
        BlockExpansion(blocks=3).attach(make_tiny("llama"), 0)
    model = make_tiny("llama")
    for layer in model.model.layers:
        layer.mlp = torch.nn.Linear(32, 32)  # a branch whose last product has no name that is known
    with pytest.raises(UserError, match="do not begin as the identity"):
        BlockExpansion().attach(model, 0)
    model.model.layers[0].self_attn.register_module("o_proj", None)
    with pytest.raises(UserError, match="no output projection is known in the layers of LlamaForCausalLM"):
        _identity(model.model.layers[0], model)


def test_layers_that_another_adapter_counts_are_not_renumbered(make_tiny: Make) -> None:
    model = make_tiny("llama")
    KAdapter().attach(model, 0)
    with pytest.raises(UserError, match="whose layers it would renumber"):
        BlockExpansion().attach(model, 0)
