"""Facts asked of causal models: what is read and what is predicted, against the model's own logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.evaluation.causal_spans import CausalSpans
from rewarm.evaluation.spans import Blank, Span
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

MakeTiny = Callable[..., Any]


@pytest.fixture
def scorer(make_tiny: MakeTiny, sharpened: Callable[[Any], Any], tiny_tokenizer_folder: Path) -> CausalSpans:
    return CausalSpans(sharpened(make_tiny("llama")), TextTokenizer(tiny_tokenizer_folder))


@torch.no_grad()
def by_hand(model: Any, context: list[int], continuation: list[int]) -> float:
    logits = model(input_ids=torch.tensor([[*context, *continuation]]), use_cache=False).logits[0].double()
    logprobs = logits.log_softmax(-1)
    return sum(float(logprobs[len(context) - 1 + at, token]) for at, token in enumerate(continuation))


def test_every_token_of_the_answer_and_nothing_else(scorer: CausalSpans) -> None:
    """BOS is read, as in training; the suffix is not, and EOS is not predicted."""
    spans = [Span("kemi lora", "tishi"), Span("kemi lora", "ba", " as ever"), Span("zu", "kemi lora tra")]
    found = scorer.score(spans)
    encode = scorer.tokenizer.encode
    for place, span in enumerate(spans):
        before, whole = (encode([text])[0][:-1].tolist() for text in (span.prompt, f"{span.prompt} {span.answer}"))
        assert before[0] == scorer.tokenizer.prefix[0]
        assert whole[: len(before)] == before  # the blank begins a word of its own here
        assert found.logprob_N[place] == pytest.approx(by_hand(scorer.model, before, whole[len(before) :]), abs=1e-4)
        assert found.tokens_N[place] == len(whole) - len(before)


def test_a_blank_behind_the_prompt_changes_nothing(scorer: CausalSpans) -> None:
    found = scorer.score([Span("kemi lora", "tishi"), Span("kemi lora ", "tishi")])
    assert found.logprob_N[0] == found.logprob_N[1]


def test_a_token_across_the_border_counts_as_the_answers(tmp_path: Path, make_tiny: MakeTiny) -> None:
    """Merges of "x" with the blank and letter that follow: "ax b" is a, "x b", so the x is read no longer."""
    from tokenizers import Tokenizer, models

    vocabulary = {token: number for number, token in enumerate(["<eos>", "a", "x", " ", "b", " b", "x b"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [(" ", "b"), ("x", " b")]))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>"}))
    scorer = CausalSpans(make_tiny("llama"), TextTokenizer(tmp_path))
    merged, whole, nothing_left = scorer.requests([Span("ax", "b"), Span("a", "b"), Span("x", "b")])
    assert (merged.context, merged.continuation) == ([1], [6])
    assert (whole.context, whole.continuation) == ([1], [5])
    assert (nothing_left.context, nothing_left.continuation) == ([0], [6])


def test_an_empty_prompt_is_the_start_of_a_document(scorer: CausalSpans) -> None:
    request = scorer.requests([Span("", "kemi")])[0]
    assert list(request.context) == list(scorer.tokenizer.prefix)
    assert scorer.tokenizer.decode(request.continuation) == "kemi"


def test_an_answer_without_a_token_is_refused(scorer: CausalSpans) -> None:
    with pytest.raises(UserError, match="the answer '' after '' has no token of its own"):
        scorer.score([Span("", "")])


def test_long_prompts_lose_their_beginning(scorer: CausalSpans) -> None:
    found = scorer.score([Span("kemi " * 200, "lora"), Span("kemi", "lora")])
    assert found.truncated == 1
    assert len(scorer.generate([Blank("kemi " * 200, ".", 3)])) == 1


def test_generation_stops_at_the_end_of_a_line(scorer: CausalSpans, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that always says the newline's token: nothing is generated, and in company nothing else changes."""
    alone = scorer.generate([Blank("kemi", ".", 3)])
    assert scorer.generate([Blank("lora tra", ".", 3), Blank("kemi", ".", 3)])[1] == alone[0]
    newline = scorer.tokenizer.encode(["\n"])[0].tolist()[-2]
    assert newline in scorer._ends
    head = scorer.model.get_output_embeddings()
    hidden = scorer.model.base_model(input_ids=torch.tensor([[0, 5]])).last_hidden_state[0, -1].detach()
    head.weight.data.zero_()
    head.weight.data[newline] = hidden
    ids = torch.tensor([[0, 5]])
    assert int(scorer.model(input_ids=ids).logits[0, -1].argmax()) == newline
    assert scorer.generate([Blank(scorer.tokenizer.decode([5]), ".", 3)]) == [""]


def test_tokens_of_answers(scorer: CausalSpans) -> None:
    answers = ["kemi", "kemi lora", "x"]
    expected = scorer.score([Span("zu", answer) for answer in answers]).tokens_N.tolist()
    assert scorer.count(answers) == expected
