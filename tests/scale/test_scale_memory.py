"""Memory of one of several processes: the formula by hand, for a small model and for 7B on 8 GPUs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from rewarm.plan import Plan, from_values
from rewarm.training.activations import Passes, needed
from rewarm.training.divided import copied, divided, spread
from rewarm.types import UserError

LLAMA_2_7B = LlamaConfig(
    vocab_size=32_000, hidden_size=4096, intermediate_size=11_008, num_hidden_layers=32, num_attention_heads=32,
    attn_implementation="sdpa",
)  # fmt: skip
EVERY = 6_738_415_616
LAYER = 4 * 4096**2 + 3 * 4096 * 11_008 + 2 * 4096
OUTSIDE = 2 * 32_000 * 4096 + 4096


@pytest.fixture(scope="module")
def model() -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(LLAMA_2_7B)


def plan_of(**changes: Any) -> Plan:
    values = {
        "base": "org/name", "output_dir": "run", "corpora": {"new": {"path": "text"}}, "precision": "bf16",
        "stages": [{"name": "new", "data": "new", "tokens": "1M", "learning_rate": 1e-5}], "seq_len": 4096,
        "batch_tokens": 8 * 16_384, "micro_batch_tokens": 16_384,
    }  # fmt: skip
    return from_values(values | changes)


def test_seven_billion_parameters_on_eight_gpus(model: Any) -> None:
    assert 32 * LAYER + OUTSIDE == EVERY
    passes = Passes(16_384, True)
    parts = divided(plan_of(), model, passes, 8)
    assert parts == {
        "weights and moments": 12 * EVERY // 8,
        "gradients": 4 * EVERY // 8 + 4 * (LAYER + OUTSIDE),
        "layers put together": 4 * (2 * LAYER + OUTSIDE),
        "copies in bf16": 2 * EVERY,
        **{name: needed(plan_of(), model, passes)[name] for name in ("activations", "logits")},
    }
    assert copied(EVERY, 8) == 12 * EVERY // 8 < 10.2e9
    more = divided(plan_of(batch_tokens=16 * 16_384), model, passes, 8)
    assert more["gradients"] == 4 * EVERY // 8 + 4 * EVERY  # two passes each: they are sent after the second
    assert sum(parts.values()) < 72e9 < sum(needed(plan_of(), model, passes).values())


def test_what_retention_holds_is_divided_but_for_a_teacher(model: Any) -> None:
    stage = {
        "name": "new",
        "data": "new",
        "tokens": "1M",
        "learning_rate": 1e-5,
        "replay": {"from": "old", "share": 0.1},
    }
    corpora = {name: {"path": "text"} for name in ("new", "old")}
    for retention, held in ((["ewc"], 8 * EVERY // 8), (["ewc", "distillation"], 8 * EVERY // 8 + 4 * EVERY)):
        plan = plan_of(corpora=corpora, stages=[stage | {"retention": retention}])
        assert divided(plan, model, Passes(16_384, True), 8)["retention"] == held


def test_weights_are_divided_where_they_do_not_fit_whole(model: Any) -> None:
    open_plan = plan_of(micro_batch_tokens=None)
    assert spread(open_plan, model, 1 << 40, 8)[0] is False
    divided_anyway = plan_of(micro_batch_tokens=None, sharding="full")
    assert spread(open_plan, model, 80 * 10**9, 8) == spread(divided_anyway, model, 80 * 10**9, 8)
    assert spread(open_plan, model, 80 * 10**9, 8)[0] is True
    assert spread(open_plan, model, 80 * 10**9, 1)[0] is False
    assert spread(plan_of(sharding="none"), model, 80 * 10**9, 8)[0] is False
    assert spread(plan_of(sharding="full"), model, 1 << 40, 8)[0] is True


def test_a_wrong_word_is_refused() -> None:
    with pytest.raises(UserError, match="sharding"):
        plan_of(sharding="half")
