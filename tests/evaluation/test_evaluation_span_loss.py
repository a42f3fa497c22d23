"""Watched documents of encoder-decoder models: spans that never change, and the loss that the model itself gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation.layer_states import layer_means
from rewarm.evaluation.span_loss import span_losses
from rewarm.hashing import seed_of, text_hash
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.spans import Spans
from rewarm.tokens.tokenizer import TextTokenizer

TEXTS = 10


@pytest.fixture
def tokenizer(sentinel_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(sentinel_tokenizer_folder)


@pytest.fixture
def make_store(tmp_path: Path, tokenizer: TextTokenizer, words: Any) -> Callable[..., Store]:
    """A function: first text, how many -> a store of texts of 3 to 48 words, one of a letter, and an empty one."""

    def make(first: int, count: int) -> Store:
        texts = [*(words(first + number, 3 + 5 * number) for number in range(count)), "q", ""]
        with StoreWriter(tmp_path / f"store-{first}", tokenizer.dtype) as writer:
            hashes = [text_hash(text) for text in texts]
            writer.add(tokenizer.encode(texts), [max(1, len(text.encode())) for text in texts], hashes, hashes)
        return Store(tmp_path / f"store-{first}")

    return make


def test_losses_are_the_models_own(tokenizer: TextTokenizer, make_store: Any, make_seq2seq: Any) -> None:
    spans, store, model = Spans.of(tokenizer), make_store(0, TEXTS), make_seq2seq("t5")
    found = span_losses(model, store, np.arange(TEXTS + 2), 400, spans)
    for document in range(TEXTS + 1):
        ids_T = store.ids(document)
        example = spans.example(ids_T, seed_of(seed_of(int(store.hashes[document]), "watched"), 0))
        assert example is not None
        read_S, written_T = (torch.from_numpy(part) for part in example)
        with torch.no_grad():
            logprob_TV = model(input_ids=read_S[None], labels=written_T[None]).logits[0].log_softmax(-1)
        nats_T = -logprob_TV[torch.arange(len(written_T)), written_T]
        mean = float(nats_T[written_T >= 103].mean())
        assert found.tokens_D[document] == len(ids_T) - 1
        assert found.nats_D[document] == pytest.approx(mean * (len(ids_T) - 1), rel=1e-4)
    assert (found.nats_D[TEXTS + 1], found.tokens_D[TEXTS + 1]) == (0.0, 0)
    assert found.bytes_D.tolist() == store.bytes.tolist()


def test_a_document_is_scored_alike_in_any_company(
    tokenizer: TextTokenizer, make_store: Any, make_seq2seq: Any
) -> None:
    spans, store, model = Spans.of(tokenizer), make_store(0, TEXTS), make_seq2seq("umt5").train()
    found = span_losses(model, store, np.arange(TEXTS), 32, spans)
    assert model.training
    alone = span_losses(model, store, np.array([TEXTS - 1]), 32, spans)
    assert alone.nats_D[0] == pytest.approx(found.nats_D[-1], rel=1e-5)
    other = dataclasses.replace(spans, rate=0.5, mean_length=1.5)
    again = span_losses(model, store, np.arange(TEXTS)[::-1].copy(), 32, other)
    np.testing.assert_allclose(again.nats_D[::-1], found.nats_D, rtol=1e-5)


def test_few_sentinels_make_windows_shorter(tokenizer: TextTokenizer, make_store: Any, make_seq2seq: Any) -> None:
    spans, store = Spans.of(tokenizer), make_store(0, TEXTS)
    few = dataclasses.replace(spans, sentinels=spans.sentinels[:4])
    assert few.longest == 40
    model = make_seq2seq("t5")
    found, wanted = (span_losses(model, store, np.arange(TEXTS), length, few) for length in (400, 40))
    assert found.nats_D.tolist() == wanted.nats_D.tolist()


def test_states_are_those_of_the_encoders_layers(make_seq2seq: Any) -> None:
    model, rows = make_seq2seq("t5"), [np.arange(110, 117, dtype=np.uint16), np.arange(200, 203, dtype=np.uint16)]
    found_LND = layer_means(model, rows)
    assert found_LND.shape == (3, 2, 32)
    for number, ids_T in enumerate(rows):
        with torch.no_grad():
            last_TD = model.encoder(input_ids=torch.from_numpy(ids_T.astype(np.int64))[None]).last_hidden_state[0]
        torch.testing.assert_close(found_LND[-1, number].float(), last_TD.mean(0), rtol=1e-4, atol=1e-5)
