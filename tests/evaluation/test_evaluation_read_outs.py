"""Read-outs: what features are, which texts they are of, and which learning rate is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation.classifier import Tuning
from rewarm.evaluation.layer_states import layer_means
from rewarm.evaluation.read_outs import ReadOut, Task, Texts, best_rate, features, full_read_out, learning_rate_for
from rewarm.models.load import weights_hash
from rewarm.tokens.tokenizer import TextTokenizer


@pytest.fixture
def tokenizer(tiny_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer_folder)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_features_are_the_mean_last_states_of_the_first_tokens(
    name: str, make_tiny: Any, tokenizer: TextTokenizer, words: Any
) -> None:
    model, texts = make_tiny(name), [words(seed, 3 + 9 * seed) for seed in range(5)]
    rows = [row[:12] for row in tokenizer.encode(texts)]
    wanted_ND = layer_means(model, rows)[-1]
    found_ND = features(model, tokenizer, texts, 12)
    assert np.allclose(found_ND, wanted_ND.numpy(), atol=1e-4)
    longer_ND = features(model, tokenizer, texts, 64)
    assert np.allclose(longer_ND[0], found_ND[0], atol=1e-5)
    assert not np.allclose(longer_ND[4], found_ND[4], atol=1e-3)


def test_what_always_saying_the_most_frequent_class_gives() -> None:
    task = Task(("a", "b"), Texts("uvw", [0, 1, 1]), Texts("", []), Texts("xyz", [1, 0, 1]))
    assert task.chance == pytest.approx(2 / 3)


def test_a_read_out_in_numbers() -> None:
    found = ReadOut(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), 2, {"penalty": 0.1}).as_json()
    assert found == {"accuracy": 0.75, "macro_f1": pytest.approx((2 / 3 + 4 / 5) / 2), "penalty": 0.1}


def test_the_rate_falls_with_size(make_tiny: Any) -> None:
    """A tiny model gets the largest rate; at 125M parameters it is 2e-5, from the formula worked out by hand."""
    assert learning_rate_for(make_tiny("llama")) == 1e-3
    embedding = torch.nn.Module()
    embedding.base_model = torch.nn.Embedding(125_000, 1000, device="meta")  # type: ignore[assignment]
    assert learning_rate_for(embedding) == pytest.approx(2e-5)  # type: ignore[arg-type]


def test_the_rate_that_does_best_on_dev_is_taken() -> None:
    asked: list[float] = []

    def ask(tuning: Tuning) -> ReadOut:
        asked.append(tuning.learning_rate)
        dev = {1e-5: 0.2, 1e-4: 0.9, 1e-3: 0.9}[tuning.learning_rate]
        return ReadOut(np.zeros(1, np.int64), np.zeros(1, np.int64), 2, {"dev_accuracy": dev, "rate": asked[-1]})

    assert best_rate((1e-5, 1e-4, 1e-3), Tuning(), ask).found["rate"] == 1e-4
    assert asked == [1e-5, 1e-4, 1e-3]


def test_a_copy_is_tuned_while_the_model_trains_on(make_tiny: Any, tokenizer: TextTokenizer, words: Any) -> None:
    """A model in training mode, with gradients and some frozen weights, is left in just that state."""
    model = make_tiny("llama").train()
    model.get_input_embeddings().weight.requires_grad_(False)
    model.model.norm.weight.grad = torch.ones(32)
    before = weights_hash(model)
    rows = Texts([words(seed, 6) for seed in range(12)], [seed % 2 for seed in range(12)])
    found = full_read_out(model, tokenizer, Task(("a", "b"), rows, rows, rows), 16, Tuning(1e-2, epochs=2))
    assert found.found["best_step"] > 0
    assert weights_hash(model) == before
    assert model.training
    assert not model.get_input_embeddings().weight.requires_grad
    assert torch.equal(model.model.norm.weight.grad, torch.ones(32))
