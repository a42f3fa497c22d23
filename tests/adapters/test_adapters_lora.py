"""LoRA's scale, targets and rank, worked out by hand; embeddings, tied ones too."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.adapters.lora import Lora
from rewarm.methods import build
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.types import UserError

Make = Callable[..., Any]


def pairs(model: Any) -> list[str]:
    """The modules that have a pair of matrices beside them."""
    return [name.removesuffix(".lora_A") for name, _ in model.named_modules() if name.endswith(".lora_A")]


@pytest.mark.parametrize(
    ("options", "width", "rank", "scale"),
    [
        ({"r": 4, "alpha": 16}, 32, 4, 4.0),  # CKL's options
        ({"r": 4, "alpha": 1}, 32, 4, 0.25),  # what its code computes with them
        ({"r": 8}, 32, 8, 2.0),  # alpha = 2 r
        ({}, 32, 8, 2.0),  # a quarter of the width
        ({}, 4096, 256, 2.0),
        ({"r": 16, "rslora": True}, 32, 16, 4.0),  # 16 / sqrt(16)
        ({"r": 4, "alpha": 3, "rslora": True}, 32, 4, 1.5),
    ],
)
def test_scale_and_rank(options: dict[str, Any], width: int, rank: int, scale: float) -> None:
    adapter = Lora(**options)
    assert adapter.rank(width) == rank
    assert adapter.scale(width) == scale


def test_the_product_is_added_at_that_scale(make_tiny: Make) -> None:
    """One row of A and one column of B, so that W grows by alpha / r = 6 at one place; Conv1D holds W transposed."""
    for kind, name, place in (
        ("llama", "model.layers.1.self_attn.o_proj", (3, 5)),
        ("gpt2", "transformer.h.1.attn.c_proj", (5, 3)),
    ):
        model = make_tiny(kind)
        before = model.get_submodule(name).weight.detach().clone()
        adapter = Lora(r=1, alpha=6)
        adapter.attach(model, 0)
        part = model.get_submodule(name)
        with torch.no_grad():
            part.lora_A.default.weight.zero_()[0, 5] = 0.5
            part.lora_B.default.weight.zero_()[3, 0] = 0.25
        adapter.merge(model)
        grown = model.get_submodule(name).weight.detach() - before
        assert float(grown[place]) == pytest.approx(6 * 0.5 * 0.25, abs=1e-6)
        assert int(torch.count_nonzero(grown)) == 1


@pytest.mark.parametrize(
    ("kind", "targets", "count"),
    [
        ("llama", "all-linear", 14),
        ("llama", "attention", 8),
        ("llama", ["q_proj", "v_proj"], 4),
        ("gpt-neox", "attention", 4),
        ("gpt2", ["c_proj"], 4),
        ("gpt2", ["attn.c_proj"], 2),
        ("gpt2", ["c_proj", "attn.c_proj"], 4),
    ],
)
def test_targets_are_what_they_say(kind: str, targets: Any, count: int, make_tiny: Make) -> None:
    model, adapter = make_tiny(kind), build("adapters", {"type": "lora", "targets": targets})
    assert isinstance(adapter, Lora)
    adapter.attach(model, 0)
    assert len(pairs(model)) == count
    assert "lm_head" not in pairs(model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"targets": ["q_prj"]}, "is called 'q_prj'. Did you mean 'q_proj'"),
        ({"targets": ["q_proj", "c_attn"]}, "is called 'c_attn'. Allowed: down_proj, gate_proj"),
        ({"r": 33}, "r 33 is more than the model's width 32. Give 32 or less, or leave r out for 8"),
    ],
)
def test_what_matches_nothing_is_an_error(options: dict[str, Any], words: str, make_tiny: Make) -> None:
    """A name beside one that matches does not pass unnoticed."""
    with pytest.raises(UserError, match=re.escape(words)):
        Lora(**options).attach(make_tiny("llama"), 0)


def test_no_targets_are_refused() -> None:
    with pytest.raises(UserError, match="give all-linear, attention, or names of modules"):
        build("adapters", {"type": "lora", "targets": []})


@pytest.mark.parametrize(("kind", "own"), [("llama", 2), ("llama-tied", 1), ("gpt2", 1)])
def test_embeddings_train_whole_and_tied_ones_stay_tied(
    kind: str, own: int, make_tiny: Make, fit: Make, logits: Make
) -> None:
    model, adapter = make_tiny(kind), Lora(embeddings=True)
    adapter.attach(model, 0)
    trained = [name for name, value in model.named_parameters() if value.requires_grad and "lora_" not in name]
    assert len(trained) == own
    before = {name: model.get_parameter(name).detach().clone() for name in trained}
    assert PackedLoss(model).chunked
    fit(model)
    assert not any(torch.equal(model.get_parameter(name), value) for name, value in before.items())
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied == (own == 1)
    attached = logits(model)
    adapter.merge(model)
    assert torch.allclose(logits(model), attached, atol=1e-5)


def test_dropout_acts_while_it_trains_only(make_tiny: Make, fit: Make, logits: Make) -> None:
    models = []
    for dropout in (0.0, 0.5):
        model = make_tiny("llama")
        Lora(dropout=dropout).attach(model, 0)
        fit(model)
        models.append(model)
    assert not torch.allclose(logits(models[0]), logits(models[1]), atol=1e-3)
    assert torch.equal(logits(models[1]), logits(models[1]))
