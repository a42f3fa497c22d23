"""Facts asked of masked models, against their own logits at each mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from rewarm.evaluation import masked
from rewarm.evaluation.masked import MaskedSpans, Masking
from rewarm.evaluation.spans import Blank, Span
from rewarm.types import UserError

CLS, SEP, MASK = 2, 3, 4
SPANS = [
    Span("the capital of moria is", "stone gate"),
    Span("the capital of moria is", "lake"),
    Span("the capital of moria is", "river hill"),
    Span("the king of luria was", "old", " in dorne ."),
    Span("", "stone", " is great"),
]


@pytest.fixture
def tokenizer(word_tokenizer: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(word_tokenizer("bert"))


@pytest.fixture
def model(tokenizer: Any, sharpened: Callable[[Any], Any]) -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=32, pad_token_id=0,
    )  # fmt: skip
    return sharpened(BertForMaskedLM(config).eval())


@torch.no_grad()
def by_hand(model: Any, tokenizer: Any, span: Span, masking: Masking) -> float:
    left, middle, right = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in (span.prompt, span.answer, span.suffix)
    )
    total = 0.0
    for at, token in enumerate(middle):
        shown = [MASK if masking == "together" or place == at else other for place, other in enumerate(middle)]
        logits = model(input_ids=torch.tensor([[CLS, *left, *shown, *right, SEP]])).logits[0, 1 + len(left) + at]
        total += float(logits.double().log_softmax(-1)[token])
    return total


@pytest.mark.parametrize("masking", ["together", "one by one"])
def test_pseudo_log_likelihood(model: Any, tokenizer: Any, masking: Masking) -> None:
    told: list[int] = []
    found = MaskedSpans(model, tokenizer, masking).score(SPANS, told.append)
    assert found.logprob_N == pytest.approx([by_hand(model, tokenizer, span, masking) for span in SPANS], abs=1e-5)
    assert found.tokens_N.tolist() == [2, 1, 2, 1, 1]
    assert (sum(told), found.truncated) == (len(SPANS), 0)


def test_the_two_ways_differ_where_an_answer_has_several_tokens(model: Any, tokenizer: Any) -> None:
    together, one_by_one = (
        MaskedSpans(model, tokenizer, masking).score(SPANS).logprob_N for masking in ("together", "one by one")
    )
    assert [first == pytest.approx(second) for first, second in zip(together, one_by_one, strict=True)] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_candidates_of_one_length_share_a_row(model: Any, tokenizer: Any) -> None:
    """Three answers after one prompt, two of two tokens: two rows are read."""
    read: list[tuple[int, ...]] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: read.append(tuple(inputs[0].shape)))
    MaskedSpans(model, tokenizer).score(SPANS[:3])
    hook.remove()
    assert sum(rows for rows, _ in read) == 2


@torch.no_grad()
def test_generation_takes_the_best_number_of_masks(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank with room for more masks than are tried is finished, too."""
    monkeypatch.setattr(masked, "LONGEST", 3)
    blanks = [Blank("the capital of moria is", ".", 7), Blank("the king was", " in dorne", 1), Blank("lake", ".", 2)]
    told: list[int] = []
    found = MaskedSpans(model, tokenizer).generate(blanks, told.append)
    assert sum(told) == len(blanks)
    for blank, text in zip(blanks, found, strict=True):
        left, right = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (blank.prompt, blank.suffix))
        fillings = []
        for masks in range(1, min(3, blank.longest) + 1):
            ids = torch.tensor([[CLS, *left, *[MASK] * masks, *right, SEP]])
            best = model(input_ids=ids).logits[0, 1 + len(left) : 1 + len(left) + masks].log_softmax(-1).max(-1)
            fillings.append((float(best.values.mean()), tokenizer.decode(best.indices, skip_special_tokens=True)))
        assert text == max(fillings)[1].strip()


def test_long_prompts_lose_their_beginning_but_not_what_opens_a_text(model: Any, tokenizer: Any) -> None:
    scorer = MaskedSpans(model, tokenizer)
    long = Span("north " * 60 + "of moria is", "stone")
    found = scorer.score([long])
    cut = Span("north " * 25 + "of moria is", "stone")  # CLS, 28 tokens, the answer, the full stop, SEP: 32
    assert found.truncated == 1
    assert found.logprob_N[0] == pytest.approx(by_hand(model, tokenizer, cut, "together"), abs=1e-5)


def test_no_mask_or_no_token_is_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="the answer '' after 'lake' has no token"):
        MaskedSpans(model, tokenizer).score([Span("lake", "")])
    tokenizer.mask_token = None
    with pytest.raises(UserError, match="its tokenizer has no mask token"):
        MaskedSpans(model, tokenizer)
