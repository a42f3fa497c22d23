"""Watched documents of masked models: a mask that never changes, and the loss that the model itself gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation.masked_loss import hidden, masked_losses
from rewarm.hashing import text_hash
from rewarm.tokens.masking import Masking
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer

TEXTS = 12


@pytest.fixture
def tokenizer(masked_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(masked_tokenizer_folder)


@pytest.fixture
def make_store(tmp_path: Path, tokenizer: TextTokenizer, words: Any) -> Callable[..., Store]:
    """A function: first text, how many -> a store of texts of 3 to 58 words, and one without a token of text."""

    def make(first: int, count: int) -> Store:
        texts = [*(words(first + number, 3 + 5 * number) for number in range(count)), ""]
        with StoreWriter(tmp_path / f"store-{first}", tokenizer.dtype) as writer:
            hashes = [text_hash(text) for text in texts]
            writer.add(tokenizer.encode(texts), [max(1, len(text.encode())) for text in texts], hashes, hashes)
        return Store(tmp_path / f"store-{first}")

    return make


def test_a_fixed_share_is_hidden_and_at_least_one(tokenizer: TextTokenizer, make_store: Any) -> None:
    masking, store = Masking.of(tokenizer), make_store(0, TEXTS)
    shares = []
    for document in range(TEXTS):
        ids_T, key = store.ids(document), int(store.hashes[document])
        hidden_T = hidden(masking, ids_T, key)
        assert hidden_T.any()
        assert not hidden_T[[0, -1]].any()
        assert (hidden_T == hidden(Masking.of(tokenizer, 0.5), ids_T, key)).all()
        shares.append(hidden_T.mean())
    assert 0.1 < np.mean(shares[4:]) < 0.2
    assert not hidden(masking, store.ids(TEXTS), int(store.hashes[TEXTS])).any()


def test_losses_are_the_models_own(tokenizer: TextTokenizer, make_store: Any, make_masked: Any) -> None:
    masking, store, model = Masking.of(tokenizer), make_store(0, TEXTS), make_masked("bert")
    found = masked_losses(model, store, np.arange(TEXTS + 1), 128, masking)
    for document in range(TEXTS):
        ids_T = store.ids(document).astype(np.int64)
        hidden_T = hidden(masking, ids_T, int(store.hashes[document]))
        read_T = np.where(hidden_T, masking.mask_id, ids_T)
        with torch.no_grad():
            logprob_TV = model(input_ids=torch.from_numpy(read_T)[None]).logits[0].log_softmax(-1)
        mean = -logprob_TV[np.arange(len(ids_T)), ids_T].numpy()[hidden_T].mean()
        assert found.tokens_D[document] == len(ids_T) - 2
        assert found.nats_D[document] == pytest.approx(mean * (len(ids_T) - 2), rel=1e-4)
    assert (found.nats_D[TEXTS], found.tokens_D[TEXTS]) == (0.0, 0)
    assert found.bytes_D.tolist() == store.bytes.tolist()


def test_a_document_is_scored_alike_in_any_company(tokenizer: TextTokenizer, make_store: Any, make_masked: Any) -> None:
    masking, store, model = Masking.of(tokenizer), make_store(0, TEXTS), make_masked("roberta").train()
    found = masked_losses(model, store, np.arange(TEXTS), 32, masking)
    assert model.training
    alone = masked_losses(model, store, np.array([TEXTS - 1]), 32, masking)
    assert alone.nats_D[0] == pytest.approx(found.nats_D[-1], rel=1e-5)
    again = masked_losses(model, store, np.arange(TEXTS)[::-1].copy(), 32, masking)
    np.testing.assert_allclose(again.nats_D[::-1], found.nats_D, rtol=1e-5)
