"""`rewarm add-tokens` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TEXT = "Blåbærgrød med fløde er også godt på en måde, nummer {}."


@pytest.fixture
def base(tiny_tokenizer_folder: Path, make_tiny: Callable[..., Any], tmp_path: Path) -> Path:
    from rewarm.models.load import save_model

    save_model(make_tiny("llama"), tiny_tokenizer_folder, tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def text(write_jsonl: Callable[..., Path], tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "new.jsonl", [TEXT.format(number) for number in range(200)])


def test_it_writes_a_model_that_loads_and_says_what_is_saved(base: Path, text: Path, tmp_path: Path, cli: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    called = cli("add-tokens", base, text, "--tokens", "20", "--out", tmp_path / "grown", "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert found["added"] == found["rows"]["initialised"] == 20
    assert found["bytes_per_token"]["after"] > 1.5 * found["bytes_per_token"]["before"]
    assert found["measured_on"] == "held-out documents"
    assert json.loads((tmp_path / "grown/extension.json").read_text(encoding="utf-8"))["added"] == 20
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "grown")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "grown")
    old = AutoModelForCausalLM.from_pretrained(base)
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    assert int(ids.max()) >= found["first_id"]
    assert len(model.get_input_embeddings().weight) == len(tokenizer)
    kept = torch.arange(1, 12)[None]
    with torch.no_grad():
        assert model(kept).logits[..., : found["first_id"]].equal(old(kept).logits)


def test_a_dry_run_measures_and_writes_nothing(base: Path, text: Path, tmp_path: Path, cli: Any) -> None:
    called = cli("add-tokens", base, text, "--tokens", "5", "--out", tmp_path / "grown", "--dry-run")
    assert called.code == 0, called.err
    assert "bytes per token of new text" in called.out
    assert not (tmp_path / "grown").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("--init", "subword-men"), "--init subword-men: .*subword-mean"),
        (("--init-head", "meen"), "--init-head meen: .*mean"),
        (("--tokens", "0"), "--tokens 0: give at least 1"),
        (("--tokens", "many"), "--tokens many"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    changed: tuple[str, ...], said: str, base: Path, text: Path, tmp_path: Path, cli: Any
) -> None:
    import re

    called = cli("add-tokens", base, text, "--out", tmp_path / "grown", *changed)
    assert called.code == 3
    assert re.search(said, called.err)


def test_a_folder_with_something_in_it_is_left_alone(base: Path, text: Path, cli: Any) -> None:
    called = cli("add-tokens", base, text, "--out", base)
    assert called.code == 3
    assert "is there already and is not empty" in called.err


def test_a_base_that_cannot_grow_is_refused_before_the_text_is_read(base: Path, tmp_path: Path, cli: Any) -> None:
    (base / "model.safetensors").unlink()
    called = cli("add-tokens", base, tmp_path / "text.jsonl", "--out", tmp_path / "grown")
    assert called.code == 3
    assert "holds no weights" in called.err
