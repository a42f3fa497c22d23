"""Scores of a stream of documents against a loop that reads each document by itself, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, BertModel, T5Config, T5ForConditionalGeneration

from rewarm.evaluation.document_scores import DocumentScore, DocumentScorer
from rewarm.hashing import text_hashes
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

SEQ_LEN = 16
BERT: dict[str, Any] = {
    "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer_folder)


@pytest.fixture(scope="module")
def texts(words: Callable[[int, int], str]) -> list[str]:
    """Empty, one token, exactly a window, several windows, and many of other lengths in no order."""
    return ["", "a", *(words(number, number * 7 % 23) for number in range(1, 40)), words(99, 60), "", words(98, 8)]


def naive(model: Any, ids: Sequence[int], seq_len: int, losses: bool = True) -> DocumentScore:
    """What the score of one document is by its definition."""
    nats, targets, states = 0.0, 0, []
    for start in range(0, len(ids), seq_len):
        window = torch.tensor(ids[start : start + seq_len])[None]
        nexts = torch.tensor(ids[start + 1 : start + seq_len + 1], dtype=torch.long)
        with torch.no_grad():
            states.append(model.base_model(window).last_hidden_state[0])
            if losses:
                logits = model(window).logits[0, : len(nexts)]
                nats += float(cross_entropy(logits.double(), nexts, reduction="sum"))
                targets += len(nexts)
    return DocumentScore(len(ids), targets, nats, torch.cat(states).mean(0).numpy())


def assert_as_naive(found: list[DocumentScore], model: Any, ids: Sequence[Any], losses: bool = True) -> None:
    assert len(found) == len(ids)
    for one, ids_T in zip(found, ids, strict=True):
        wanted = naive(model, ids_T.tolist(), SEQ_LEN, losses)
        assert one.tokens == wanted.tokens
        if losses:
            assert one.targets == wanted.targets
            assert one.nats == pytest.approx(wanted.nats, rel=1e-5, abs=1e-4)
        assert one.state_D is not None
        np.testing.assert_allclose(one.state_D, wanted.state_D, atol=1e-4)


def test_scores_are_those_of_each_document_alone(
    make_tiny: Callable[..., Any], family: str, tokenizer: TextTokenizer, texts: list[str]
) -> None:
    model = make_tiny(family)
    ids = tokenizer.encode(texts)
    assert max(map(len, ids)) > 3 * SEQ_LEN
    assert_as_naive(list(DocumentScorer(model, tokenizer, SEQ_LEN, 64).score(texts)), make_tiny(family), ids)


@pytest.mark.parametrize("blocks", [1, 10_000])
def test_order_and_values_do_not_depend_on_blocks(
    make_tiny: Callable[..., Any],
    tokenizer: TextTokenizer,
    texts: list[str],
    blocks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rewarm.evaluation.document_scores.BLOCK_PASSES", blocks)
    model = make_tiny("llama")
    assert_as_naive(list(DocumentScorer(model, tokenizer, SEQ_LEN, 64).score(texts)), model, tokenizer.encode(texts))


def test_texts_are_drawn_only_as_far_as_they_are_needed(
    make_tiny: Callable[..., Any], tokenizer: TextTokenizer, words: Callable[[int, int], str]
) -> None:
    """Memory is flat because a stream is never far ahead of what has been asked for."""
    drawn = 0

    def stream() -> Iterator[str]:
        nonlocal drawn
        for number in range(100_000):
            drawn += 1
            yield words(number % 7, 30)

    scores = DocumentScorer(make_tiny("llama"), tokenizer, SEQ_LEN, 16).score(stream())
    for _ in range(50):
        next(scores)
    assert 50 <= drawn < 400
    scores.close()


def test_documents_of_a_store_are_scored_as_their_text(
    make_tiny: Callable[..., Any], tokenizer: TextTokenizer, texts: list[str], tmp_path: Path
) -> None:
    hashes, sizes = text_hashes(texts)
    with StoreWriter(tmp_path / "store", tokenizer.dtype) as writer:
        writer.add(tokenizer.encode(texts), sizes.tolist(), hashes.tolist(), hashes.tolist())
    chosen = np.array([5, 2, 41, 1, 0])
    scorer = DocumentScorer(make_tiny("llama"), tokenizer, SEQ_LEN, 64)
    found = scorer.score_store(Store(tmp_path / "store"), chosen)
    wanted = scorer.score([texts[number] for number in chosen])
    for one, other in zip(found, wanted, strict=True):
        assert one[:2] == other[:2]
        assert one.nats == pytest.approx(other.nats, abs=1e-4)
        np.testing.assert_allclose(one.state_D, other.state_D, atol=1e-5)


def test_only_what_is_asked_for_is_made(make_tiny: Callable[..., Any], tokenizer: TextTokenizer) -> None:
    model = make_tiny("llama")
    both = next(DocumentScorer(model, tokenizer, SEQ_LEN).score(["lomi ke"]))
    losses = next(DocumentScorer(model, tokenizer, SEQ_LEN, states=False).score(["lomi ke"]))
    states = next(DocumentScorer(model, tokenizer, SEQ_LEN, losses=False).score(["lomi ke"]))
    assert losses.state_D is None
    assert losses.nats == pytest.approx(both.nats)
    assert (states.nats, states.tokens) == (0.0, both.tokens)
    np.testing.assert_allclose(states.state_D, both.state_D, atol=1e-6)
    assert list(DocumentScorer(model, tokenizer, SEQ_LEN).score([])) == []
    with pytest.raises(UserError, match="neither losses nor states"):
        DocumentScorer(model, tokenizer, SEQ_LEN, losses=False, states=False)


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_models_that_read_both_ways_give_states_only(kind: Any, tokenizer: TextTokenizer, texts: list[str]) -> None:
    torch.manual_seed(0)
    model = kind(BertConfig(**BERT)).eval()
    with pytest.raises(UserError, match=r"losses=False"):
        DocumentScorer(model, tokenizer, SEQ_LEN)
    found = list(DocumentScorer(model, tokenizer, SEQ_LEN, 64, losses=False).score(texts))
    assert_as_naive(found, model, tokenizer.encode(texts), losses=False)


def test_what_cannot_be_scored_is_refused_before_any_work(
    make_tiny: Callable[..., Any], tokenizer: TextTokenizer
) -> None:
    with pytest.raises(UserError, match="no language-model head"):
        DocumentScorer(make_tiny("llama").base_model, tokenizer, SEQ_LEN)
    with pytest.raises(UserError, match="positions"):
        DocumentScorer(make_tiny("llama"), tokenizer, 129)
    small = T5Config(vocab_size=400, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    with pytest.raises(UserError, match="get_encoder"):
        DocumentScorer(T5ForConditionalGeneration(small), tokenizer, SEQ_LEN)
    tokenizer_of_more = TextTokenizer.__new__(TextTokenizer)
    tokenizer_of_more.vocab_size = 401
    with pytest.raises(UserError, match="400 embedding rows"):
        DocumentScorer(make_tiny("llama"), tokenizer_of_more, SEQ_LEN)


def test_half_precision_is_near_and_leaves_the_model_alone(
    make_tiny: Callable[..., Any], tokenizer: TextTokenizer, texts: list[str]
) -> None:
    model = make_tiny("llama").train()
    full = list(DocumentScorer(model, tokenizer, SEQ_LEN, 64).score(texts))
    half = list(DocumentScorer(model, tokenizer, SEQ_LEN, 64, torch.bfloat16).score(texts))
    assert model.training
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    for one, other in zip(full, half, strict=True):
        assert one.nats == pytest.approx(other.nats, rel=0.02, abs=0.05)
    assert any(one.nats != other.nats for one, other in zip(full, half, strict=True))
