"""CKA against the base as a suite: 1 for the base, less for what moved, batch by batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.suites import Asked
from rewarm.suites.similarity import Similarity
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError


@pytest.fixture
def file(tmp_path: Path, words: Any, write_jsonl: Any) -> Path:
    return write_jsonl(tmp_path / "old.jsonl", [words(seed, 12) for seed in range(75)])


@pytest.fixture
def ask(make_tiny: Any, tiny_tokenizer_folder: Path) -> Any:
    """A function: suite, model -> its answers against the untouched tiny model."""
    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    return lambda suite, model: suite.answer(Asked(model, tokenizer, lambda: make_tiny("llama"), 32, 0, torch.float32))


def test_the_base_is_itself(file: Path, ask: Any, make_tiny: Any) -> None:
    answers = ask(Similarity(path=str(file), batch=16), make_tiny("llama"))
    assert answers.measures["cka"].values_N == pytest.approx([1.0] * 4)
    assert answers.extra["layers"] == ["embeddings", "layer 1", "layer 2"]
    assert answers.extra["cka"] == pytest.approx([1.0] * 3)
    assert answers.left_out == {"over the last whole batch": 11}


def test_the_layer_that_moved_is_the_first_that_differs(file: Path, ask: Any, make_tiny: Any) -> None:
    model = make_tiny("llama")
    moved = model.model.layers[1].mlp.down_proj.weight
    moved.data += 20 * moved.data.std() * torch.randn(moved.shape, generator=torch.Generator().manual_seed(0))
    answers = ask(Similarity(path=str(file), batch=16), model)
    assert answers.extra["cka"][:2] == pytest.approx([1.0, 1.0])
    assert answers.extra["cka"][2] < 0.98
    assert answers.extra["low"][2] <= answers.extra["cka"][2] <= answers.extra["high"][2]
    assert answers.measures["cka"].value < 1


def test_too_little_text_is_refused_before_any_work(file: Path) -> None:
    with pytest.raises(UserError, match="75 texts do not fill a batch of 76"):
        Similarity(path=str(file), batch=76).check("layers", 0.0)
