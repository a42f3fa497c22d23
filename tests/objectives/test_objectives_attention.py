"""Models that are given documents say what they said with masks, in less memory, and nothing else about them changes.

Shapes: B rows, T positions, H heads, K key heads, E width of a head.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.objectives.attention import NAME, _interface, can_name_documents
from rewarm.objectives.documents import document_bounds
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.tokens.order import Segment
from rewarm.tokens.packing import pack
from rewarm.types import Batch

MakeTiny = Callable[..., Any]
# Gemma 2 caps its attention scores.
KEEP_THEIR_OWN = {"gemma2"}
SIZES = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}


def packed(*rows: list[int], seed: int = 0) -> Batch:
    """Rows of documents of these lengths."""
    source = np.random.default_rng(seed)
    return pack([[Segment(source.integers(3, 300, length), length) for length in row] for row in rows], sum(rows[0]))


def passes(objective: PackedLoss, batch: Batch) -> list[Tensor]:
    """The loss and every gradient."""
    loss = objective.loss_sum(batch)
    loss.backward()
    found = [loss.detach(), *(own.grad.clone() for own in objective.model.parameters() if own.grad is not None)]
    objective.model.zero_grad()
    return found


def assert_close(first: list[Tensor], second: list[Tensor]) -> None:
    assert len(first) == len(second)
    for mine, theirs in zip(first, second, strict=True):
        assert float((mine - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max()) + 1e-6


# Which models are given documents


def test_families_are_given_documents(make_tiny: MakeTiny, family: str) -> None:
    model = make_tiny(family)
    assert can_name_documents(model) is (family not in KEEP_THEIR_OWN)
    assert (model.config._attn_implementation == NAME) is (family not in KEEP_THEIR_OWN)
    assert can_name_documents(model) is (family not in KEEP_THEIR_OWN)


def test_loss_and_gradients_are_those_of_the_models_own_attention(make_tiny: MakeTiny, family: str) -> None:
    """Documents longer and shorter than Mistral's window of 8, one row that ends in padding."""
    batch = packed([5, 30, 9, 9, 11], [40, *[1] * 24])
    objective = PackedLoss(make_tiny(family))
    found = passes(objective, batch)
    own = PackedLoss(make_tiny(family))
    own.names_documents = False
    own.model.set_attn_implementation("eager" if family in KEEP_THEIR_OWN else "sdpa")
    assert_close(found, passes(own, batch))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gemma2", {}),  # caps its scores
        ("gpt_oss", {"num_local_experts": 2, "num_experts_per_tok": 1}),  # sinks
        ("llama4_text", {"num_local_experts": 2, "attention_chunk_size": 4096}),
        # Its windows are in its mask only: attention is not told of them.
        ("qwen2_moe", {"use_sliding_window": True, "max_window_layers": 2, **EXPERTS}),
        ("llama", {"attn_implementation": "eager"}),  # somebody chose it
    ],
)
def test_models_with_more_than_softmax_in_a_window_keep_their_own(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **SIZES | options))
    before = model.config._attn_implementation
    assert not can_name_documents(model)
    assert model.config._attn_implementation == before
    assert {layer.self_attn.config._attn_implementation for layer in model.model.layers} == {before}


def test_it_is_not_the_name_that_decides() -> None:
    """The same family without windows."""
    torch.manual_seed(0)
    assert can_name_documents(AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2_moe", **SIZES | EXPERTS)))


def test_looking_leaves_windows_and_mode(make_tiny: MakeTiny) -> None:
    model = make_tiny("mistral").train()
    assert can_name_documents(model)
    assert model.training
    assert model.config.sliding_window == 8


# What it costs


def largest_allocation(action: Callable[[], object]) -> int:
    """Bytes of the largest tensor or buffer made, also inside operators."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        action()
    return max(event.self_cpu_memory_usage for event in profile.events())


def test_no_tensor_over_pairs_of_positions_is_made(make_tiny: MakeTiny) -> None:
    """2048 tokens in documents of 64, forward and backward; the model's own attention does make a mask of pairs."""
    batch = packed([64] * 32)
    pairs = 2048 * 2048
    named, own = PackedLoss(make_tiny("llama")), PackedLoss(make_tiny("llama"))
    own.names_documents = False
    assert largest_allocation(lambda: passes(named, batch)) < pairs
    assert largest_allocation(lambda: passes(own, batch)) >= pairs


# Everything else about the model


def test_sampling_with_a_cache_and_padding_is_as_before(make_tiny: MakeTiny, family: str) -> None:
    model = make_tiny(family)
    tokens_BT = torch.randint(3, 300, (2, 12), generator=torch.Generator().manual_seed(0))
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[0, :5] = 0

    def sampled() -> Tensor:
        more = {"max_new_tokens": 6, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
        return torch.stack(model.generate(tokens_BT, attention_mask=mask_BT, **more).logits)

    before = sampled()
    can_name_documents(model)
    assert torch.equal(sampled(), before)


def test_a_saved_model_does_not_know_of_it(make_tiny: MakeTiny, tmp_path: Path) -> None:
    model = make_tiny("llama")
    assert can_name_documents(model)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")
    assert "attn_implementation" not in "".join(json.loads((tmp_path / "config.json").read_text(encoding="utf-8")))
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2"])
def test_activations_may_be_computed_again(make_tiny: MakeTiny, name: str) -> None:
    """With GPT-2's dropout: what is computed again drops the same."""
    batch = packed([5, 30, 29], [64])
    found = []
    for again in (False, True):
        objective = PackedLoss(make_tiny(name).train())
        assert objective.names_documents
        if again:
            objective.model.activation_checkpointing_enable()
        torch.manual_seed(3)
        found.append(passes(objective, batch))
    assert_close(found[1], found[0])


# What models call


def heads(*shapes: tuple[int, int, int, int]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape) for shape in shapes]


POSITIONS_BT = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])


@pytest.mark.parametrize("scale", [None, 0.37])
@pytest.mark.parametrize("window", [None, 2, 8])
def test_key_heads_are_shared_and_the_scale_is_the_models(scale: float | None, window: int | None) -> None:
    """Four query heads share two key heads in pairs: heads 0 and 1 the first, 2 and 3 the second."""
    query, key, value = heads((1, 4, 8, 16), (1, 2, 8, 16), (1, 2, 8, 16))
    out_BTHE, nothing = _interface(
        torch.nn.Module(), query, key, value, document_bounds(POSITIONS_BT), scaling=scale, sliding_window=window
    )
    assert nothing is None
    distance = torch.arange(8)[:, None] - torch.arange(8)
    seen = (distance >= 0) & (distance < (window or 8))
    seen[3:, :3] = False
    for head in range(4):
        scores = query[0, head].double() @ key[0, head // 2].double().T * (0.25 if scale is None else scale)
        wanted = scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value[0, head // 2].double()
        torch.testing.assert_close(out_BTHE[0, :, head].double(), wanted, rtol=1e-5, atol=1e-5)


def test_half_precision_goes_in_and_comes_out() -> None:
    query, key, value = heads(*[(1, 4, 8, 16)] * 3)
    exact, _ = _interface(torch.nn.Module(), query, key, value, document_bounds(POSITIONS_BT))
    found, _ = _interface(
        torch.nn.Module(), query.bfloat16(), key.bfloat16(), value.bfloat16(), document_bounds(POSITIONS_BT)
    )
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.03, atol=0.03)


def test_without_documents_attention_is_torchs() -> None:
    query, key, value = heads(*[(1, 4, 8, 16)] * 3)
    module = torch.nn.Module()
    for mask in (None, torch.ones(1, 1, 8, 8, dtype=torch.bool), torch.zeros(1, 1, 8, 8)):
        wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None)
        assert torch.equal(_interface(module, query, key, value, mask)[0], wanted.transpose(1, 2))


@pytest.mark.parametrize("unknown", ["softcap", "s_aux", "position_bias"])
def test_what_would_be_ignored_is_refused(unknown: str) -> None:
    bounds = document_bounds(POSITIONS_BT)
    with pytest.raises(ValueError, match=f"document attention knows no {unknown}"):
        _interface(torch.nn.Module(), *heads(*[(1, 4, 8, 16)] * 3), bounds, **{unknown: 1.0})
    with pytest.raises(ValueError, match="4 query heads cannot share 3 key heads evenly"):
        _interface(torch.nn.Module(), *heads((1, 4, 8, 16), (1, 3, 8, 16), (1, 3, 8, 16)), bounds)
