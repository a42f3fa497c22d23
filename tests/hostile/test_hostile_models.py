"""Folders of models that somebody else made: no pickle is opened, no code of theirs runs, no file outside is read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rewarm.models.load import check_vocabulary, load_as, load_model, save_model, save_tokenizer
from rewarm.models.recycling import with_adapter
from rewarm.river.shapes import base_shape
from rewarm.tokens.manifests import read_manifest
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError


class Touch:
    """Pickled, it is a command that makes a file when the pickle is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.fixture
def saved(tmp_path: Path, make_tiny: Any, tiny_tokenizer_folder: Path) -> Path:
    """A Llama, saved."""
    save_model(make_tiny("llama"), tiny_tokenizer_folder, tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "model.pt", "model.ckpt"])
def test_weights_in_a_pickle_are_not_opened(saved: Path, tmp_path: Path, name: str) -> None:
    (saved / "model.safetensors").unlink()
    (saved / name).write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    with pytest.raises(UserError, match="could not be loaded"):
        load_model(str(saved))
    with pytest.raises(UserError, match="never pickles"):
        base_shape(str(saved))
    assert not (tmp_path / "ran").exists()


def test_an_adapter_in_a_pickle_is_not_opened(saved: Path, make_tiny: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    wrapped: Any = get_peft_model(make_tiny("llama"), LoraConfig(r=2, target_modules=["q_proj"]))
    wrapped.save_pretrained(tmp_path / "adapter")
    with_adapter(make_tiny("llama"), str(tmp_path / "adapter"))
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    (tmp_path / "adapter" / "adapter_model.bin").write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    with pytest.raises(UserError, match="reads no pickles"):
        with_adapter(make_tiny("llama"), str(tmp_path / "adapter"))
    assert not (tmp_path / "ran").exists()


CODE = {
    "config.json": {
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
        "model_type": "mine",
    },
    "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["mine.Slow", "mine.Fast"]}, "tokenizer_class": "Mine"},
}


@pytest.mark.parametrize("file", CODE)
def test_code_that_a_folder_brings_is_not_run(saved: Path, tmp_path: Path, file: str) -> None:
    values = json.loads((saved / file).read_text()) | CODE[file]
    (saved / file).write_text(json.dumps(values))
    (saved / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    for load in (
        lambda: load_model(str(saved)),
        lambda: load_as(*_classifier(), str(saved)),
        lambda: base_shape(str(saved)),
        lambda: save_tokenizer(str(saved), tmp_path / "copy"),
    ):
        try:
            load()
        except UserError:
            continue
    assert not (tmp_path / "ran").exists()


def _classifier() -> tuple[Any, str]:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification, "a sequence classifier"


@pytest.mark.parametrize("held", ["../../other.safetensors", "/etc/passwd", 3, None, ["a"]])
def test_an_index_names_no_file_outside(saved: Path, tmp_path: Path, held: Any) -> None:
    (tmp_path / "other.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    names = dict.fromkeys(load_file(saved / "model.safetensors"), held)
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(UserError, match=r"lacks|damaged"):
        base_shape(str(saved))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"weight_map": 3}', "[" * 100_000, "\xff"])
def test_an_index_that_is_none_is_a_sentence(saved: Path, text: str) -> None:
    (saved / "model.safetensors.index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="damaged"):
        base_shape(str(saved))


BROKEN_TOKENIZER = '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": 3}}'


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "text", ["", "[]", "{", "{}", "3", "[" * 100_000, '{"model_type": []}', BROKEN_TOKENIZER, "\xff"]
)
def test_settings_that_are_none_are_a_sentence(saved: Path, tmp_path: Path, file: str, text: str) -> None:
    """A tokenizer may be made of what is left; what is not may not end in anything but a sentence."""
    (saved / file).write_bytes(text.encode("latin-1"))
    try:
        save_tokenizer(str(saved), tmp_path / "copy")
        TextTokenizer(tmp_path / "copy")
    except UserError:
        pass
    if file == "config.json":
        for load in (load_model, base_shape):
            with pytest.raises(UserError):
                load(str(saved))


def test_a_vocabulary_larger_than_the_model_is_refused(saved: Path, make_tiny: Any) -> None:
    """Two million further tokens, and an id near the end of 32 bits."""
    values = json.loads((saved / "tokenizer.json").read_text())
    values["model"]["vocab"] |= {f"w{number}": number for number in range(400, 200_000)}
    (saved / "tokenizer.json").write_text(json.dumps(values))
    tokenizer = TextTokenizer(saved)
    assert (tokenizer.vocab_size, tokenizer.dtype.name) == (200_000, "uint32")
    with pytest.raises(UserError, match="tokenizer mismatch"):
        check_vocabulary(make_tiny("llama"), tokenizer)


MANIFEST = {
    "dtype": "uint16", "documents": 0, "tokens": 0,
    "shards": [{"file": "tokens-00000.bin", "tokens": 0, "blake2b": ""}],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "object"}, {"dtype": "int16"}, {"dtype": "float16"}, {"dtype": 3}, {"documents": -1}, {"tokens": "1"},
        {"shards": []}, {"shards": [{"file": "../../x", "tokens": 0, "blake2b": ""}]}, {"shards": 3},
        {"shards": [{"file": "/etc/passwd", "tokens": 0, "blake2b": ""}]}, {"shards": [{"tokens": 0}]},
        {"shards": None},
    ],
)  # fmt: skip
def test_a_store_names_no_file_outside(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    assert read_manifest(tmp_path) == MANIFEST
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST | change))
    with pytest.raises(UserError, match=r"damaged\. Delete the folder"):
        read_manifest(tmp_path)


def test_a_pickle_that_was_opened_would_be_seen(tmp_path: Path) -> None:
    torch.load(_pickled(tmp_path), weights_only=False)
    assert (tmp_path / "ran").exists()


def _pickled(folder: Path) -> Path:
    torch.save(Touch(folder / "ran"), folder / "a.bin")
    return folder / "a.bin"
