"""Facts asked of encoder-decoder models, one at a time by their own logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from rewarm.evaluation import seq2seq
from rewarm.evaluation.seq2seq import Seq2seqSpans
from rewarm.evaluation.spans import Blank, Span
from rewarm.types import UserError

START, EOS, OPENS, CLOSES = 0, 1, 3, 4
SPANS = [
    Span("the capital of moria is", "stone gate"),
    Span("the capital of moria is", "lake"),
    Span("the king of luria was", "old", " in dorne ."),
    Span("", "stone river hill", " is great"),
]


@pytest.fixture
def tokenizer(word_tokenizer: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(word_tokenizer("t5"))


@pytest.fixture
def model(tokenizer: Any, sharpened: Callable[[Any], Any]) -> Any:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_ff=64, d_kv=8, num_layers=2, num_heads=4, decoder_start_token_id=START,
        pad_token_id=0, eos_token_id=EOS,
    )  # fmt: skip
    return sharpened(T5ForConditionalGeneration(config).eval())


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


@torch.no_grad()
def by_hand(model: Any, source: list[int], opening: list[int], answer: list[int]) -> float:
    decoder = torch.tensor([[*opening, *answer]])
    logprobs = model(input_ids=torch.tensor([source]), decoder_input_ids=decoder).logits[0].double().log_softmax(-1)
    return sum(float(logprobs[len(opening) - 1 + at, token]) for at, token in enumerate(answer))


@pytest.mark.parametrize("tokens", [8, 2048])
def test_sentinels_as_t5_was_trained(model: Any, tokenizer: Any, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when every answer is a pass of its own."""
    monkeypatch.setattr(seq2seq, "batch_tokens", lambda model: tokens)
    told: list[int] = []
    found = Seq2seqSpans(model, tokenizer).score(SPANS, told.append)
    expected = [
        by_hand(
            model, [*ids(tokenizer, span.prompt), OPENS, *ids(tokenizer, span.suffix), EOS], [START, OPENS],
            ids(tokenizer, span.answer),
        )
        for span in SPANS
    ]  # fmt: skip
    assert found.logprob_N == pytest.approx(expected, abs=1e-4)
    assert found.tokens_N.tolist() == [2, 1, 1, 3]
    assert (sum(told), found.truncated) == (len(SPANS), 0)


def test_without_sentinels_the_prompt_is_read_and_the_answer_written(
    model: Any, word_tokenizer: Callable[[str], Path]
) -> None:
    """A tokenizer of whole words that knows no sentinel; ids beyond its own do not matter to the scores."""
    tokenizer: Any = AutoTokenizer.from_pretrained(word_tokenizer("bert"))
    found = Seq2seqSpans(model, tokenizer).score(SPANS[:2])
    source = tokenizer("the capital of moria is")["input_ids"]
    expected = [by_hand(model, source, [START], ids(tokenizer, span.answer)) for span in SPANS[:2]]
    assert found.logprob_N == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_generation_is_greedy_up_to_the_next_sentinel(model: Any, tokenizer: Any) -> None:
    """Batches of sources of several lengths; decoded by the logits of each source alone."""
    blanks = [Blank("the capital of moria is", ".", 3), Blank("lake", ".", 3), Blank("the king was", " in dorne .", 6)]
    found = Seq2seqSpans(model, tokenizer).generate(blanks)
    for blank, text, most in zip(blanks, found, [8, 8, 16], strict=True):
        source = torch.tensor([[*ids(tokenizer, blank.prompt), OPENS, *ids(tokenizer, blank.suffix), EOS]])
        made = [START, OPENS]
        while len(made) < most + 2:
            token = int(model(input_ids=source, decoder_input_ids=torch.tensor([made])).logits[0, -1].argmax())
            if token in (EOS, CLOSES):
                break
            made.append(token)
        assert text == tokenizer.decode(made, skip_special_tokens=True)


def test_what_its_decoder_starts_from_must_be_known(model: Any, tokenizer: Any) -> None:
    model.config.decoder_start_token_id = None
    with pytest.raises(UserError, match="names no decoder_start_token_id"):
        Seq2seqSpans(model, tokenizer)
