"""Laws of the folder: every adapter passes them on every family, and a new file is tested by being there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rewarm.adapters.beside import load_with_adapters
from rewarm.methods import build, known
from rewarm.models.load import load_model, save_model, weights_hash
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.objectives.probing import probe_tokens

Make = Callable[..., Any]
METHODS: dict[str, Any] = known("adapters")
MERGING = [name for name, method in METHODS.items() if method.merges]
by_method = pytest.mark.parametrize("name", METHODS)


def trains(model: Any) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.fixture
def fitted(make_tiny: Make, fit: Make) -> Make:
    """A function: name of a method, family -> its adapter with default options, and the model it was trained in."""

    def make(name: str, family: str, **options: Any) -> tuple[Any, Any]:
        model, adapter = make_tiny(family), METHODS[name](**options)
        adapter.attach(model, 1)
        fit(model)
        return adapter, model

    return make


@by_method
def test_it_says_where_it_comes_from_and_what_it_costs(name: str) -> None:
    assert METHODS[name].paper
    assert METHODS[name].cost
    made = METHODS[name]()
    assert build("adapters", made.described()) == made


@by_method
def test_a_fresh_adapter_leaves_the_logits_equal(name: str, family: str, make_tiny: Make, logits: Make) -> None:
    """Bit for bit. The process's random numbers go on as if nothing had been drawn; a seed always draws the same."""
    model, again, plain = make_tiny(family), make_tiny(family), make_tiny(family)
    kind, random = type(model), torch.get_rng_state()
    METHODS[name]().attach(model, 1)
    assert torch.equal(torch.get_rng_state(), random)
    torch.manual_seed(5)
    METHODS[name]().attach(again, 1)
    assert weights_hash(again) == weights_hash(model)
    assert type(model) is kind
    assert torch.equal(logits(model), logits(plain))


@by_method
def test_only_what_it_says_trains(name: str, family: str, make_tiny: Make, fit: Make) -> None:
    model = make_tiny(family)
    METHODS[name]().attach(model, 1)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    trained = trains(model)
    fit(model)
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert moved == trained
    share = sum(before[key].numel() for key in trained) / sum(value.numel() for value in before.values())
    assert 0 < share < 0.5


@pytest.mark.parametrize("name", MERGING)
def test_merged_is_a_plain_model_that_computes_the_same(
    name: str, family: str, fitted: Make, make_tiny: Make, logits: Make, tmp_path: Path, tiny_tokenizer_folder: Path
) -> None:
    adapter, model = fitted(name, family)
    attached = logits(model)
    assert float((attached - logits(make_tiny(family))).abs().max()) > 0.05
    adapter.merge(model)
    assert torch.allclose(logits(model), attached, atol=1e-5)
    assert trains(model) == set(dict(model.named_parameters()))
    save_model(model, tiny_tokenizer_folder, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert type(loaded) is type(make_tiny(family))
    assert set(dict(loaded.named_parameters())) == set(dict(model.named_parameters()))
    assert torch.equal(logits(loaded), logits(model))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in MERGING])
def test_what_cannot_merge_lies_beside_the_weights(
    name: str, family: str, fitted: Make, make_tiny: Make, logits: Make, tmp_path: Path, tiny_tokenizer_folder: Path
) -> None:
    adapter, model = fitted(name, family, scale=10.0)
    plain = make_tiny(family)
    adapter.merge(model)
    assert float((logits(model) - logits(plain)).abs().max()) > 0.05
    save_model(model, tiny_tokenizer_folder, tmp_path / "model")
    loaded = load_with_adapters(str(tmp_path / "model"))
    assert torch.equal(logits(loaded), logits(model))
    assert weights_hash(loaded) == weights_hash(model)
    assert trains(loaded) == set(dict(loaded.named_parameters()))
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert torch.equal(logits(alone), logits(plain))


@by_method
def test_what_it_trains_can_be_kept_and_put_back(
    name: str, fitted: Make, make_tiny: Make, logits: Make, tmp_path: Path
) -> None:
    """As a checkpoint and a run do it: the tensors that train, by name, into a model with a fresh adapter."""
    adapter, model = fitted(name, "llama-tied")
    kept = {key: value.detach().contiguous() for key, value in model.named_parameters() if value.requires_grad}
    save_file(kept, tmp_path / "adapter.safetensors")
    again = make_tiny("llama-tied")
    adapter.attach(again, 2)
    own = {key: value for key, value in again.named_parameters() if value.requires_grad}
    saved = load_file(tmp_path / "adapter.safetensors")
    assert own.keys() == saved.keys()
    for key, value in own.items():
        value.data.copy_(saved[key])
    assert torch.equal(logits(again), logits(model))


@by_method
def test_packed_documents_stay_apart(name: str, family: str, fitted: Make, make_tiny: Make) -> None:
    """A trained adapter reads no other document: an PackedLoss, which refuses a model that does, takes it as before."""
    _, model = fitted(name, family)
    plain, own = PackedLoss(make_tiny(family)), PackedLoss(model)
    assert (own.chunked, own.names_documents) == (plain.chunked, plain.names_documents)


@by_method
@pytest.mark.parametrize("kind", ["llama-tied", "gpt2", "gemma2"])
def test_layers_that_compute_twice_train_to_the_same(name: str, kind: str, make_tiny: Make, fit: Make) -> None:
    first, second = make_tiny(kind), make_tiny(kind)
    for model, checkpointed in ((first, False), (second, True)):
        METHODS[name]().attach(model, 1)
        fit(model, checkpointed=checkpointed)
    wanted = dict(first.named_parameters())
    assert all(torch.allclose(value, wanted[name], atol=1e-5) for name, value in second.named_parameters())


@by_method
def test_text_goes_on_with_a_cache_as_without(name: str, family: str, fitted: Make) -> None:
    """Logits of a last token, after the others went through in two parts: what sampling does."""
    adapter, model = fitted(name, family, **({} if METHODS[name].merges else {"scale": 10.0}))
    adapter.merge(model)
    tokens_BT = probe_tokens(model, 24).view(2, 12)
    with torch.no_grad():
        whole_BTV = model(input_ids=tokens_BT, use_cache=False).logits
        begun = model(input_ids=tokens_BT[:, :9], use_cache=True).past_key_values
        more = model(input_ids=tokens_BT[:, 9:11], past_key_values=begun, use_cache=True)
        last = model(input_ids=tokens_BT[:, 11:], past_key_values=more.past_key_values, use_cache=True)
    assert torch.allclose(more.logits, whole_BTV[:, 9:11], atol=1e-4)
    assert torch.allclose(last.logits, whole_BTV[:, 11:], atol=1e-4)


@by_method
def test_a_copy_of_the_model_has_an_adapter_of_its_own(name: str, fitted: Make, logits: Make) -> None:
    _, model = fitted(name, "llama")
    made, before = copy.deepcopy(model), logits(model)
    assert torch.equal(logits(made), before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(logits(made), before)


@by_method
def test_one_comes_on_top_of_another(name: str, fitted: Make, logits: Make, fit: Make) -> None:
    """The second stage of `one_for: stage`: a new adapter, while all that was learned is frozen."""
    adapter, model = fitted(name, "qwen2")
    adapter.merge(model)
    before = logits(model)
    adapter.attach(model, 2)
    assert torch.equal(logits(model), before)
    frozen = {key: value.detach().clone() for key, value in model.named_parameters() if not value.requires_grad}
    fit(model)
    assert all(torch.equal(value, frozen[key]) for key, value in model.named_parameters() if key in frozen)
    after = logits(model)
    assert not torch.equal(after, before)
    adapter.merge(model)
    assert torch.allclose(logits(model), after, atol=1e-5)


@by_method
def test_a_model_without_decoder_layers_is_refused(name: str) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4)
    model = MambaForCausalLM(config)
    del model.backbone.layers[1]
    with pytest.raises(ValueError, match="has no list of 2 decoder layers"):
        METHODS[name]().attach(model, 1)


def test_a_model_with_an_adapter_beside_it_is_not_taken_for_a_plain_one(
    fitted: Make, tmp_path: Path, tiny_tokenizer_folder: Path
) -> None:
    _, model = fitted("k-adapter", "llama")
    save_model(model, tiny_tokenizer_folder, tmp_path / "model")
    with pytest.raises(ValueError, match="an adapter beside its weights"):
        load_model(str(tmp_path / "model"))
    tensors = load_file(tmp_path / "model" / "adapter.safetensors")
    tensors.pop("adapters.0.norm.bias")
    save_file(tensors, tmp_path / "model" / "adapter.safetensors")
    with pytest.raises(ValueError, match=r"does not fit the adapter .* \(adapters.0.norm.bias\)"):
        load_with_adapters(str(tmp_path / "model"))
