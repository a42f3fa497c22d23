"""Freezing: which parameters each option names, that they stay bit for bit, and that nothing is kept for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors import safe_open

from rewarm.adapters.k_adapter import KAdapter
from rewarm.adapters.lora import Lora
from rewarm.methods import build
from rewarm.models.decoder import decoder_layers
from rewarm.retention.freeze import Freeze
from rewarm.training.leg import Leg
from rewarm.types import UserError

Make = Callable[..., Any]
ATTENTION = {f"self_attn.{name}_proj.weight" for name in "qkvo"}
MLP = {f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")}
NORMS = {"input_layernorm.weight", "post_attention_layernorm.weight"}


def in_layer(number: int, names: set[str]) -> set[str]:
    return {f"model.layers.{number}.{name}" for name in names}


def frozen(model: Any, method: Freeze) -> set[str]:
    method.select(model)
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_beside_an_adapter_that_froze_it_all_there_is_nothing_to_freeze(make_tiny: Make) -> None:
    """LoRA's pairs lie in the layers, and can be frozen with them; those of k-adapter lie elsewhere."""
    lora, beside = make_tiny("llama"), make_tiny("llama")
    Lora().attach(lora, 0)
    before = sum(parameter.requires_grad for parameter in lora.parameters())
    Freeze(embeddings=False).select(lora)
    assert sum(parameter.requires_grad for parameter in lora.parameters()) == before / 2
    KAdapter().attach(beside, 0)
    with pytest.raises(UserError, match="does not train anyway"):
        Freeze().select(beside)


EMBEDDINGS = {"model.embed_tokens.weight"}
LOWER = in_layer(0, ATTENTION | MLP | NORMS)
UPPER = in_layer(1, ATTENTION | MLP | NORMS)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, LOWER | EMBEDDINGS),
        ({"layers": "lower-half", "embeddings": False}, LOWER),
        ({"layers": "upper-half"}, UPPER | EMBEDDINGS),
        ({"layers": "first-1", "embeddings": False}, LOWER),
        ({"layers": "last-1", "embeddings": False}, UPPER),
        ({"layers": [1, 1], "embeddings": False}, UPPER),
        ({"layers": "all", "embeddings": False}, LOWER | UPPER),
        ({"layers": "none"}, EMBEDDINGS),
        ({"layers": [], "embeddings": False, "norms": True},
         in_layer(0, NORMS) | in_layer(1, NORMS) | {"model.norm.weight"}),
        ({"layers": "all", "only": "attention", "embeddings": False}, in_layer(0, ATTENTION) | in_layer(1, ATTENTION)),
        ({"layers": "last-1", "only": "mlp", "embeddings": False}, in_layer(1, MLP)),
        ({"layers": "none", "embeddings": False}, set()),
    ],
)  # fmt: skip
def test_what_each_option_names(options: dict[str, Any], names: set[str], make_tiny: Make) -> None:
    method = build("retention", {"type": "freeze", **options})
    assert isinstance(method, Freeze)
    assert frozen(make_tiny("llama"), method) == names


def test_half_of_an_odd_number_is_the_smaller_half() -> None:
    assert Freeze()._numbers(5) == [0, 1]
    assert Freeze(layers="upper-half")._numbers(5) == [3, 4]


def test_random_layers_are_as_many_and_the_seed_decides_which() -> None:
    drawn = [Freeze(layers="random-half", seed=seed)._numbers(12) for seed in range(20)]
    assert all(len(set(numbers)) == 6 and max(numbers) < 12 for numbers in drawn)
    assert len(set(map(tuple, drawn))) > 15
    assert Freeze(layers="random-half", seed=3)._numbers(12) == drawn[3]


@pytest.mark.parametrize(
    ("layers", "control"),
    [("lower-half", "random-half"), ("last-3", "random-3"), ((0, 2), "random-2"), ("all", None), ("random-half", None)],
)
def test_the_control_freezes_as_many(layers: Any, control: str | None) -> None:
    found = Freeze(layers=layers).control()
    assert (found and found.layers) == control


@pytest.mark.parametrize("only", [None, "attention", "mlp"])
def test_frozen_stays_and_the_rest_moves(only: Any, family: str, leg: Leg, make_tiny: Make, fit: Make) -> None:
    """On every family; a tied head is frozen with the embeddings."""
    before, model = dict(make_tiny(family).named_parameters()), make_tiny(family)
    fit(model, Freeze(only=only), family=family)
    moved = {name: not torch.equal(value, before[name]) for name, value in model.named_parameters()}
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {name for name in moved if moved[name]} == trained
    layer = next(name for name, module in model.named_modules() if module is decoder_layers(model)[1][0])
    inside = {name for name in moved if name.startswith(f"{layer}.")}
    held = set(moved) - trained - inside
    assert len(held) == 1
    assert model.get_input_embeddings().weight is dict(model.named_parameters())[held.pop()]
    parts = {"attention": ("attn.", "attention."), "mlp": ("mlp.",), None: ("",)}[only]
    assert inside - trained == {name for name in inside if any(part in name for part in parts)}


def test_embeddings_first_trains_the_rows_of_tokens_and_nothing_else(family: str, make_tiny: Make, fit: Make) -> None:
    """The first stage after new tokens (docs/vocabulary.md): the embedding, and a head of its own."""
    before, model = dict(make_tiny(family).named_parameters()), make_tiny(family)
    fit(model, Freeze(layers="body", embeddings=False), family=family)
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    head = model.get_output_embeddings()
    rows = [model.get_input_embeddings().weight, *head.parameters()]
    named = {name for name, value in model.named_parameters() if any(value is one for one in rows)}
    assert model.get_input_embeddings().weight.requires_grad
    assert moved == named


def test_nothing_is_saved_for_what_is_frozen(leg: Leg, make_tiny: Make, fit: Make) -> None:
    fit(make_tiny("llama"), None)
    other = dataclasses.replace(leg, folder=leg.folder.with_name("held"))
    model = make_tiny("llama")
    fit(model, Freeze(), other)
    sizes = []
    for one in (leg, other):
        with (
            safe_open(one.folder / "checkpoint-12" / "optimizer.safetensors", "pt") as moments,
            safe_open(one.folder / "checkpoint-12" / "weights.safetensors", "pt") as weights,
        ):
            sizes.append((len(list(moments.keys())), len(list(weights.keys()))))
    # 21 parameters, of which 9 of the first layer and the embeddings are frozen; two moments and a count for each.
    assert sizes == [(63, 21), (33, 11)]


def test_reached_is_the_frozen_share_of_all_parameters(make_tiny: Make, make_scene: Make) -> None:
    """The same before and after the parameters are taken out of training."""
    model, method = make_tiny("llama-tied"), Freeze(layers="none")
    total = sum(parameter.numel() for parameter in model.parameters())
    share = model.get_input_embeddings().weight.numel() / total
    assert method.keeper(make_scene(model), {}).reached == pytest.approx(share)
    method.select(model)
    assert method.keeper(make_scene(model), {}).reached == pytest.approx(share)
    assert Freeze.off().keeper(make_scene(model), {}).reached is None


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("llama", {"layers": "first-3"}, r"'first-3' is more than the model's 2 layers"),
        ("llama", {"layers": (0, 2)}, r"layers \[2\] are not among the model's 2, counted 0 to 1"),
        ("olmo", {"norms": True}, r"norms names no parameter of OlmoForCausalLM"),
        ("llama-tied", {"layers": "all", "norms": True}, r"leaves nothing of LlamaForCausalLM to train"),
    ],
)
def test_what_a_model_has_not_is_refused(kind: str, options: dict[str, Any], reason: str, make_tiny: Make) -> None:
    with pytest.raises(UserError, match=reason):
        Freeze(**options).select(make_tiny(kind))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layers": "middle"}, r"give none, all, body, lower-half"),
        ({"layers": "first-0"}, r"give none, all, body, lower-half"),
        ({"layers": "none", "only": "mlp"}, r"layers is none"),
        ({"layers": "body"}, r"set embeddings: false"),
        ({"layers": "body", "embeddings": False, "only": "mlp"}, r"leave out only"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        build("retention", {"type": "freeze", **options})
