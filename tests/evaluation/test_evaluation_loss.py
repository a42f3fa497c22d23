"""Losses per document equal the model's own logits, whatever they are batched with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.corpora.jsonl import Jsonl
from rewarm.evaluation.loss import document_losses, load, save
from rewarm.tokens.prepare import prepare
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer

LENGTHS = [3, 45, 16, 17, 15, 8, 31, 32, 33, 5, 20, 9]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve documents of 3 to 45 tokens."""
    source = np.random.default_rng(1)
    ids: list[Any] = [source.integers(3, 400, length).astype(np.uint16) for length in LENGTHS]
    with StoreWriter(tmp_path / "store", np.dtype(np.uint16)) as writer:
        writer.add(ids, [2 * len(document) + 1 for document in ids], range(12), range(12))
    return Store(tmp_path / "store")


def alone(model: Any, ids: Any, length: int) -> float:
    """Nats of one document by the model's own logits: windows of `length`, each predicting one token past its end."""
    total = 0.0
    for start in range(0, len(ids), length):
        window = torch.from_numpy(ids[start : start + length].astype(np.int64))[None]
        targets = torch.from_numpy(ids[start + 1 : start + length + 1].astype(np.int64))
        logits = model(input_ids=window, use_cache=False).logits[0, : len(targets)].double()
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum")) if len(targets) else 0.0
    return total


@pytest.mark.parametrize("length", [16, 64])
def test_each_document_as_if_it_were_alone(
    store: Store, make_tiny: Callable[..., Any], family: str, length: int
) -> None:
    model = make_tiny(family)
    losses = document_losses(model, store, np.arange(12), length)
    with torch.no_grad():
        for document in range(12):
            ids = np.asarray(store.ids(document))
            assert losses.nats_D[document] == pytest.approx(alone(model, ids, length), rel=1e-5)
    assert losses.tokens_D.tolist() == [length - 1 for length in LENGTHS]
    assert losses.bytes_D.tolist() == [2 * length + 1 for length in LENGTHS]


def test_order_and_company_do_not_matter(store: Store, make_tiny: Callable[..., Any]) -> None:
    model = make_tiny("gpt-neox")
    whole = document_losses(model, store, np.arange(12), 16)
    for some in (np.array([7, 2, 11]), np.array([11, 7, 2]), np.array([4]), np.arange(12)[::-1].copy()):
        found = document_losses(model, store, some, 16)
        assert found.nats_D == pytest.approx(whole.nats_D[some], rel=1e-5)
        assert found.tokens_D.tolist() == whole.tokens_D[some].tolist()
        assert found.bytes_D.tolist() == whole.bytes_D[some].tolist()


def test_many_batches_add_up_to_the_same(
    store: Store, make_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_tiny("llama")
    whole = document_losses(model, store, np.arange(12), 16)
    monkeypatch.setattr("rewarm.evaluation.passes._CPU_TOKENS", 16)  # one row at a time
    told: list[int] = []
    split = document_losses(model, store, np.arange(12), 16, done=told.append)
    assert split.nats_D == pytest.approx(whole.nats_D, rel=1e-5)
    assert sum(told) == sum(LENGTHS) - 12
    assert len(told) >= sum(LENGTHS) / 16


def test_bytes_are_those_of_the_text_in_utf8(
    tiny_tokenizer_folder: Path, make_tiny: Callable[..., Any], tmp_path: Path, write_jsonl: Any
) -> None:
    """The loss per byte of a corpus is the same number whichever tokenizer cuts it: its divisor is the text's own."""
    texts = ["bake lomi", "ß → 𝄞", "ba"]
    file = write_jsonl(tmp_path / "texts.jsonl", texts)
    store = prepare("texts", Jsonl(path=str(file)), TextTokenizer(tiny_tokenizer_folder), tmp_path, 0.0)
    losses = document_losses(make_tiny("llama"), store, np.arange(3), 16)
    assert losses.bytes_D.tolist() == [9, 2 + 1 + 3 + 1 + 4, 2]
    # BOS is in front of each text, so that its first token is predicted too, and so is EOS.
    assert losses.tokens_D.tolist() == [len(store.ids(document)) - 1 for document in range(3)]
    assert losses.per_byte == pytest.approx(losses.nats_D.sum() / 22)


def test_dropout_is_off_and_the_mode_comes_back(store: Store, make_tiny: Callable[..., Any]) -> None:
    model = make_tiny("gpt2").train()
    first, second = (document_losses(model, store, np.arange(12), 16).nats_D for _ in range(2))
    assert np.array_equal(first, second)
    assert model.training
    assert np.array_equal(first, document_losses(model.eval(), store, np.arange(12), 16).nats_D)
    assert not model.training


def test_losses_survive_the_disk(store: Store, make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    losses = document_losses(make_tiny("llama"), store, np.arange(4), 16)
    save(losses, tmp_path / "deep" / "with.dots.npz")
    held = load(tmp_path / "deep" / "with.dots.npz")
    for name in ("nats_D", "bytes_D", "tokens_D"):
        assert np.array_equal(getattr(held, name), getattr(losses, name))
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["with.dots.npz"]
