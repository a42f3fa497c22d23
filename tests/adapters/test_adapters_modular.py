"""The small model's configuration by hand, and the sum against its formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from rewarm.adapters.modular import Modular

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("llama", {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}),
        ("gpt2", {"hidden_size": 16, "n_inner": None, "num_attention_heads": 2}),
        ("qwen3", {"hidden_size": 16, "head_dim": 8, "num_attention_heads": 2, "num_key_value_heads": 1}),
        ("gemma2", {"hidden_size": 16, "layer_types": ["sliding_attention"]}),
    ],
)
def test_the_small_model_has_half_the_heads_and_at_least_one_layer(
    kind: str, wanted: dict[str, Any], make_tiny: Make
) -> None:
    config = make_tiny(kind).config
    small = Modular().smaller(config)
    assert small.num_hidden_layers == 1
    assert {name: getattr(small, name) for name in wanted} == wanted
    assert (config.hidden_size, config.num_hidden_layers) == (32, 2)


def test_a_large_one_by_hand() -> None:
    """12 heads of 64, 3 key heads: a third are 4 heads, which 1 key head fits, width 256; half of 24 layers are 12."""
    config = AutoConfig.for_model(
        "llama", hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_key_value_heads=3,
        num_hidden_layers=24,
    )  # fmt: skip
    small = Modular(width=1 / 3, depth=0.5).smaller(config)
    found = (small.hidden_size, small.intermediate_size, small.num_attention_heads, small.num_key_value_heads)
    assert found == (256, 1024, 4, 1)
    assert small.num_hidden_layers == 12


def test_it_computes_its_formula(make_tiny: Make) -> None:
    plain, model = make_tiny("gpt2"), make_tiny("gpt2")
    Modular(scale=0.5).attach(model, 0)
    module = model.adapters[0]
    torch.nn.init.normal_(module.map.weight)
    tokens_BT = torch.arange(3, 19)[None]
    with torch.no_grad():
        last_BTD = plain.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state
        small_BTC = module.small(input_ids=tokens_BT, use_cache=False).last_hidden_state
        found_BTD = model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state
    assert small_BTC.shape == (1, 16, 16)
    assert torch.allclose(found_BTD, last_BTD + 0.5 * small_BTC @ module.map.weight.T, atol=1e-5)
