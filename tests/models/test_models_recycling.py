"""Task weights carried to another base: what is added, what is copied, and that an adapter's way is the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import BertConfig, BertForMaskedLM

from rewarm.models.load import weights_hash
from rewarm.models.recycling import adapter_config, between, carried, classifier_of, new_adapter, with_adapter
from rewarm.types import UserError


def parameters(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def moved(model: Any, seed: int) -> Any:
    """A copy with noise on every parameter, as if it had been trained on."""
    source = torch.Generator().manual_seed(seed)
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=source)
    return made


def encoder() -> Any:
    torch.manual_seed(0)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=60, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=64,
        )
    )  # fmt: skip


def test_training_that_changed_nothing_gives_the_tuned_model_bit_for_bit(
    family: str, make_tiny: Callable[..., Any]
) -> None:
    old = make_tiny(family)
    tuned = moved(old, 1)
    made = carried(copy.deepcopy(old), old, tuned)
    assert weights_hash(made) == weights_hash(tuned)
    assert weights_hash(old) == weights_hash(make_tiny(family))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
def test_a_classifiers_head_is_copied_and_its_body_moved(kind: str, make_tiny: Callable[..., Any]) -> None:
    """Also BERT's pooler, which a base that was trained on masked tokens has not."""
    old = encoder() if kind == "bert" else make_tiny(kind)
    new = moved(old, 2)
    tuned = moved(classifier_of(old, ["a", "b", "c"], 0, seed=7), 3)
    made = {scale: parameters(carried(new, old, tuned, scale)) for scale in (0.0, 0.5)}
    olds, news, tuneds = map(parameters, (old, new, tuned))
    heads = tuneds.keys() - olds.keys()
    assert any("score" in name or "classifier" in name for name in heads)
    assert kind != "bert" or any("pooler" in name for name in heads)
    for name, value in tuneds.items():
        if name in heads:
            assert torch.equal(made[0.0][name], value)
            assert torch.equal(made[0.5][name], value)
        else:
            assert torch.equal(made[0.0][name], news[name])
            torch.testing.assert_close(made[0.5][name], news[name] + 0.5 * (value - olds[name]))
    assert carried(new, old, tuned).config.id2label == {0: "a", 1: "b", 2: "c"}


def test_scale_0_of_a_language_model_is_the_new_base_bit_for_bit(make_tiny: Callable[..., Any]) -> None:
    old = make_tiny("llama")
    new = moved(old, 2)
    assert weights_hash(carried(new, old, moved(old, 1), 0.0)) == weights_hash(new)


@pytest.mark.parametrize("kind", ["llama", "llama-tied"])
def test_rows_of_a_grown_vocabulary(kind: str, make_tiny: Callable[..., Any]) -> None:
    """The new base has five rows more: they stay; the old part gets the difference; a special token's row that tuning
    changed is the tuned model's."""
    old = make_tiny(kind)
    tuned, new = moved(old, 1), moved(old, 2)
    new.resize_token_embeddings(405, mean_resizing=False)
    made = carried(new, old, tuned, 1.0, special_rows=(3,))
    assert made.config.vocab_size == 405
    name = "model.embed_tokens.weight"
    rows, olds, news, tuneds = (parameters(model)[name] for model in (made, old, new, tuned))
    assert torch.equal(rows[400:], news[400:])
    assert torch.equal(rows[3], tuneds[3])
    torch.testing.assert_close(rows[4:400], (news[:400] + tuneds - olds)[4:])


def adapter_on(base: Any, folder: Path, seed: int, **changes: Any) -> Path:
    """An adapter that was trained on a base, with a head where the base is a classifier."""
    torch.manual_seed(seed)
    wrapped = get_peft_model(copy.deepcopy(base), LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], **changes))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape)
            assert parameter.requires_grad == ("lora_" in name or "modules_to_save" in name)
    wrapped.save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_an_adapter_on_the_new_base_is_the_difference_added(
    scale: float, make_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    old = make_tiny("llama")
    new = moved(old, 2)
    folder = str(adapter_on(old, tmp_path / "adapter", 1))
    tuned = with_adapter(copy.deepcopy(old), folder).merged()
    assert weights_hash(tuned) != weights_hash(old)
    whole = parameters(carried(new, old, tuned, scale))
    through = parameters(with_adapter(copy.deepcopy(new), folder, scale).merged())
    assert whole.keys() == through.keys()
    for name, value in whole.items():
        torch.testing.assert_close(through[name], value, rtol=1e-5, atol=1e-6)


def test_an_adapter_brings_its_head_and_is_all_that_trains(make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    old = make_tiny("llama")
    classifier = classifier_of(old, ["a", "b"], 2, seed=7)
    folder = adapter_on(classifier, tmp_path / "adapter", 1, task_type="SEQ_CLS")
    config = adapter_config(str(folder))
    assert config is not None
    made = with_adapter(classifier_of(moved(old, 2), ["a", "b"], 2, seed=8), str(folder))
    head = next(value for name, value in made.model.named_parameters() if "modules_to_save" in name)
    torch.testing.assert_close(head, with_adapter(classifier, str(folder)).merged().score.weight, rtol=0, atol=0)
    fresh = new_adapter(classifier_of(old, ["a", "b"], 2, seed=8), config, seed=3)
    trained = {name for name, value in fresh.model.named_parameters() if value.requires_grad}
    assert trained == {name for name, value in made.model.named_parameters() if value.requires_grad}
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    again = new_adapter(classifier_of(old, ["a", "b"], 2, seed=8), config, seed=3)
    assert weights_hash(again.model) == weights_hash(fresh.model)


def test_adapters_that_cannot_be_carried_are_refused(make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    base = make_tiny("llama")
    adapter_on(base, tmp_path / "embedding", 1, modules_to_save=["embed_tokens"])
    with pytest.raises(UserError, match=r"whole copies of parts of the old base \(embed_tokens\)"):
        adapter_config(str(tmp_path / "embedding"))
    prefix = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(copy.deepcopy(base), prefix).save_pretrained(str(tmp_path / "prefix"))
    with pytest.raises(UserError, match="PREFIX_TUNING acts on the input"):
        adapter_config(str(tmp_path / "prefix"))
    ia3 = IA3Config(target_modules=["q_proj"], feedforward_modules=[])
    get_peft_model(copy.deepcopy(base), ia3).save_pretrained(str(tmp_path / "ia3"))
    with pytest.raises(UserError, match=r"scale 0.5 is for LoRA"):
        with_adapter(copy.deepcopy(base), str(tmp_path / "ia3"), 0.5)
    with pytest.raises(UserError, match="does not fit GPT2LMHeadModel"):
        with_adapter(make_tiny("gpt2"), str(adapter_on(base, tmp_path / "adapter", 1)))
    assert adapter_config(str(tmp_path)) is None


def test_a_path_is_a_straight_line_through_every_parameter(make_tiny: Callable[..., Any]) -> None:
    model = classifier_of(make_tiny("llama"), ["a", "b"], 2, seed=1)
    first, second = parameters(moved(model, 1)), parameters(moved(model, 2))
    between(model, first, second, 0.25)
    for name, value in parameters(model).items():
        torch.testing.assert_close(value, 0.75 * first[name] + 0.25 * second[name])
    between(model, first, second, 1.0)
    assert all(torch.equal(value, second[name]) for name, value in parameters(model).items())
