"""Losses per document equal the model's own logits, whatever they are batched with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation.loss import document_losses, load, save
from rewarm.tokens.shards import Store, StoreWriter


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve documents of 3 to 45 tokens."""
    source = np.random.default_rng(1)
    ids: list[Any] = [source.integers(3, 400, length).astype(np.uint16) for length in [3, 45, 16, 17, 15, 8, 31, 32, 33, 5, 20, 9]]
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


def test_each_document_as_if_it_were_alone(store: Store, make_tiny: Callable[..., Any]) -> None:
    model = make_tiny("llama")
    losses = document_losses(model, store, np.arange(12), 16)
    with torch.no_grad():
        for document in range(12):
            ids = np.asarray(store.ids(document))
            assert losses.nats_D[document] == pytest.approx(alone(model, ids, 16), rel=1e-5)
            assert losses.tokens_D[document] == len(ids) - 1
            assert losses.bytes_D[document] == 2 * len(ids) + 1


def test_order_and_company_do_not_matter(store: Store, make_tiny: Callable[..., Any]) -> None:
    model = make_tiny("gpt-neox")
    whole = document_losses(model, store, np.arange(12), 16)
    some = np.array([7, 2, 11])
    assert document_losses(model, store, some, 16).nats_D == pytest.approx(whole.nats_D[some], rel=1e-5)


def test_losses_survive_the_disk(store: Store, make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    losses = document_losses(make_tiny("llama"), store, np.arange(4), 16)
    save(losses, tmp_path / "deep" / "file.npz")
    held = load(tmp_path / "deep" / "file.npz")
    assert np.array_equal(held.nats_D, losses.nats_D)
    assert held.per_byte == losses.per_byte
