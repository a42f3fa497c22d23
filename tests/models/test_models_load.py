"""Models in and out: what is saved is what the Hugging Face classes load, bit for bit, or an error says why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewarm.models.load import (
    check_length,
    check_vocabulary,
    load_model,
    make_model,
    save_model,
    save_tokenizer,
    weights_hash,
)
from rewarm.tokens.tokenizer import TextTokenizer, train
from rewarm.types import StorageError, UserError

TOKENS = torch.arange(3, 43).reshape(2, 20)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=TOKENS).logits
    return found


@pytest.fixture
def saved(tmp_path: Path, make_tiny: Any, tiny_tokenizer_folder: Path) -> Path:
    """A Llama, saved."""
    save_model(make_tiny("llama"), tiny_tokenizer_folder, tmp_path / "saved")
    return tmp_path / "saved"


def test_saved_models_load_bit_equal(tmp_path: Path, make_tiny: Any, tiny_tokenizer_folder: Path, family: str) -> None:
    model = make_tiny(family)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == model.config.tie_word_embeddings
    save_model(model, tiny_tokenizer_folder, tmp_path / "m")
    for loaded in (AutoModelForCausalLM.from_pretrained(tmp_path / "m"), load_model(str(tmp_path / "m"))):
        assert torch.equal(logits(loaded), logits(model))
        assert (loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight) == tied
        assert weights_hash(loaded) == weights_hash(model)
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_tied_and_untied_families_are_both_tested(tiny_configs: dict[str, Any], make_tiny: Any) -> None:
    tied = {name for name in tiny_configs if make_tiny(name).config.tie_word_embeddings}
    assert {"llama-tied", "qwen2", "gpt2"} <= tied
    assert {"llama", "qwen3", "gpt-neox", "olmo2"} <= set(tiny_configs) - tied


def test_a_saved_folder_is_whole(saved: Path, tiny_tokenizer_folder: Path) -> None:
    """Weights, configuration and tokenizer; the cache, off in training, is on again for its users."""
    tokenizer = AutoTokenizer.from_pretrained(saved)
    original = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    text = "bake loki <|eos|> größer"
    assert tokenizer(text)["input_ids"] == original(text)["input_ids"]
    assert tokenizer.eos_token_id == original.eos_token_id == 1
    config = json.loads((saved / "config.json").read_text())
    assert config["use_cache"] is True
    assert (config["eos_token_id"], config["bos_token_id"], config["vocab_size"]) == (1, 0, 400)
    assert AutoModelForCausalLM.from_pretrained(saved).config.use_cache is True
    assert load_model(str(saved)).config.use_cache is False


def test_saving_replaces_the_folder_and_keeps_facts(saved: Path, make_tiny: Any, tiny_tokenizer_folder: Path) -> None:
    (saved / "stray.bin").write_text("old")
    model = make_tiny("llama", 1)
    save_model(model, tiny_tokenizer_folder, saved, '{"leg": "stage-1"}')
    assert json.loads((saved / "rewarm.json").read_text()) == {"leg": "stage-1"}
    assert not (saved / "stray.bin").exists()
    assert weights_hash(load_model(str(saved))) == weights_hash(model)
    assert [path.name for path in saved.parent.iterdir()] == ["saved"]
    assert model.config.use_cache is False


def test_a_save_that_fails_leaves_the_older_model(saved: Path, make_tiny: Any, tmp_path: Path) -> None:
    before = weights_hash(load_model(str(saved)))
    with pytest.raises(StorageError, match="could not save the model to"):
        save_model(make_tiny("llama", 1), tmp_path / "no tokenizer", saved)
    assert weights_hash(load_model(str(saved))) == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_sampling_habits_that_cannot_be_saved(saved: Path, tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    """Some published models name a temperature without do_sample; that must not fail after days of training."""
    (saved / "generation_config.json").write_text('{"temperature": 0.6, "top_p": 0.9, "eos_token_id": 1}')
    save_model(load_model(str(saved)), tiny_tokenizer_folder, tmp_path / "again")
    again = json.loads((tmp_path / "again" / "generation_config.json").read_text())
    assert (again["temperature"], again["top_p"], again["do_sample"]) == (0.6, 0.9, True)


def damaged(saved: Path, change: Any) -> str:
    weights = load_file(saved / "model.safetensors")
    change(weights)
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    return str(saved)


def test_weights_that_are_missing_are_not_made_up(saved: Path) -> None:
    folder = damaged(saved, lambda weights: weights.pop("model.layers.0.mlp.up_proj.weight"))
    with pytest.raises(UserError, match=r"lacks 1 weights of LlamaForCausalLM.*layers\.0\.mlp\.up_proj\.weight"):
        load_model(folder)


def test_weights_of_another_shape_are_not_made_up(saved: Path) -> None:
    folder = damaged(saved, lambda weights: weights.update({"model.norm.weight": torch.ones(16)}))
    with pytest.raises(
        UserError, match=r"in another shape: model\.norm\.weight\. Give the model the weights belong to"
    ):
        load_model(folder)


def test_folders_that_hold_no_model(saved: Path, tmp_path: Path) -> None:
    words = "could not be loaded as a causal language model"
    (saved / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match=words):
        load_model(str(saved))
    (saved / "model.safetensors").unlink()
    with pytest.raises(UserError, match=f"(?s){words}.*Give a folder with config.json and model.safetensors"):
        load_model(str(saved))
    (saved / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(UserError, match=words):
        load_model(str(saved))
    with pytest.raises(UserError, match=words):
        load_model(str(tmp_path / "nowhere"))


def test_a_pickle_is_never_opened(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    torch.save(weights, saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    with pytest.raises(UserError, match="could not be loaded"):
        load_model(str(saved))


def test_code_in_a_model_folder_is_never_run(saved: Path, tmp_path: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UserError):
        load_model(str(saved))
    assert not (tmp_path / "ran").exists()


def test_a_seed_makes_the_model(make_tiny: Any) -> None:
    torch.manual_seed(123)
    state = torch.get_rng_state()
    hashes = [weights_hash(make_tiny("llama", seed)) for seed in (0, 1, 0)]
    assert hashes[0] == hashes[2] != hashes[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_the_vocabulary_is_the_tokenizers_unless_given(
    tiny_configs: dict[str, Any], tiny_tokenizer_folder: Path
) -> None:
    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    assert make_model(tiny_configs["llama"], tokenizer, 0).config.vocab_size == 400
    padded = make_model(tiny_configs["llama"] | {"vocab_size": 448}, tokenizer, 0)
    assert padded.get_input_embeddings().weight.shape == (448, 32)
    check_vocabulary(padded, tokenizer)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hiden_size": 3}, r"base\.config\.hiden_size: a llama model has no such key\. Did you mean 'hidden_size'"),
        ({"n_embd": 3}, r"base\.config\.n_embd: a llama model has no such key\. See the configuration of llama models"),
        ({"model_type": "lama"}, "is no causal language model: .*lama"),
        ({"model_type": "t5"}, r"base\.config\.\w+: a t5 model has no such key|is no causal language model"),
        ({"hidden_size": "wide"}, "(?s)is no causal language model: .*hidden_size"),
        ({"hidden_size": 30}, "(?s)is no causal language model: .*not a multiple of the number of attention heads"),
        ({"num_attention_heads": 0}, "is no causal language model"),
    ],
)
def test_configurations_that_make_no_model(
    tiny_configs: dict[str, Any], tiny_tokenizer_folder: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        make_model(tiny_configs["llama-tied"] | changes, TextTokenizer(tiny_tokenizer_folder), 0)


def test_other_names_of_a_key_are_known(tiny_configs: dict[str, Any], tiny_tokenizer_folder: Path) -> None:
    """GPT-2 calls its width n_embd and takes hidden_size for it too."""
    config = {"model_type": "gpt2", "hidden_size": 16, "n_layer": 1, "n_head": 2, "n_positions": 32, "resid_pdrop": 0.0}
    assert make_model(config, TextTokenizer(tiny_tokenizer_folder), 0).config.n_embd == 16


def test_a_tokenizer_of_another_model(make_tiny: Any, tmp_path: Path, words: Any) -> None:
    train((words(seed, 300) for seed in range(20)), 401, tmp_path)
    with pytest.raises(UserError, match=r"gives ids up to 400, the model has 400 embedding rows\. Use the tokenizer"):
        check_vocabulary(make_tiny("llama"), TextTokenizer(tmp_path))


def test_rows_longer_than_the_model(make_tiny: Any, family: str) -> None:
    model = make_tiny(family)
    check_length(model, 128)
    with pytest.raises(UserError, match=r"seq_len 129 is more than the model's 128 positions\. Set seq_len to 128"):
        check_length(model, 129)


def test_a_tokenizer_is_copied_whole_or_not_at_all(tiny_tokenizer_folder: Path, tmp_path: Path) -> None:
    save_tokenizer(str(tiny_tokenizer_folder), tmp_path / "copy")
    assert TextTokenizer(tmp_path / "copy").encode(["bake"])[0].tolist() == (
        TextTokenizer(tiny_tokenizer_folder).encode(["bake"])[0].tolist()
    )
    with pytest.raises(UserError, match="has no tokenizer that could be loaded"):
        save_tokenizer(str(tmp_path / "nowhere"), tmp_path / "other")
    shutil.rmtree(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_the_weights_hash_sees_every_bit_and_every_name() -> None:
    class Small(torch.nn.Module):
        def __init__(self, **values: torch.Tensor) -> None:
            super().__init__()
            for name, value in values.items():
                self.register_parameter(name, torch.nn.Parameter(value))

    ones = torch.ones(3)
    hashes = {
        weights_hash(Small(a=ones)),
        weights_hash(Small(b=ones)),
        weights_hash(Small(a=torch.tensor([1.0, 1.0, 1.0000001]))),
        weights_hash(Small(a=torch.tensor([0.0, 1.0, 1.0]))),
        weights_hash(Small(a=torch.tensor([-0.0, 1.0, 1.0]))),
        weights_hash(Small(a=torch.tensor(1.0))),
        weights_hash(Small(a=ones.bfloat16())),
    }
    assert len(hashes) == 7
    assert weights_hash(Small(a=torch.ones(3, 2)[:, 0])) == weights_hash(Small(a=ones))
