"""Multiple choice by likelihood against a naive loop, one row of one choice at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.suites.choices import Choices
from rewarm.suites.rows import BadRow
from rewarm.suites.scoring import Pair, requests
from rewarm.tokens.tokenizer import TextTokenizer


def naive(model: Any, tokenizer: TextTokenizer, context: str, continuation: str) -> float:
    """log p(" continuation" | context), a forward pass of its own."""
    before = tokenizer.encode([context])[0][:-1].tolist()
    whole = tokenizer.encode([f"{context} {continuation}"])[0][:-1].tolist()
    assert whole[: len(before)] == before
    with torch.no_grad():
        logprobs_TV = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logprobs_TV[place - 1, whole[place]]) for place in range(len(before), len(whole)))


def test_accuracies_and_nats_are_those_of_a_naive_loop(
    write_rows: Any, answers_of: Any, make_tiny: Any, tokenizer: TextTokenizer, words: Any
) -> None:
    texts = [words(seed, 9).split() for seed in range(30)]
    rows = [
        {"query": " ".join(text[:4]), "choices": [text[4], " ".join(text[5:8]), text[8]], "gold": place % 3}
        for place, text in enumerate(texts)
    ]
    found = answers_of({"type": "choices", "path": write_rows(rows)})
    model = make_tiny("llama")
    right, per_byte, nats, sizes = [], [], 0.0, 0
    for row in rows:
        sums = [naive(model, tokenizer, row["query"], choice) for choice in row["choices"]]
        lengths = [len(f" {choice}".encode()) for choice in row["choices"]]
        right.append(np.argmax(sums) == row["gold"])
        per_byte.append(np.argmax(np.array(sums) / lengths) == row["gold"])
        nats -= sums[row["gold"]]
        sizes += lengths[row["gold"]]
    assert found.measures["accuracy"].values_N.tolist() == right
    assert found.measures["accuracy_per_byte"].values_N.tolist() == per_byte
    assert 0 < sum(right) < 30
    assert found.measures["accuracy"].value == pytest.approx(sum(right) / 30)
    assert found.measures["nats_per_byte"].value == pytest.approx(nats / sizes, rel=1e-5)
    assert found.extra == {"chance": pytest.approx(1 / 3), "truncated": 0}
    assert found.ids[0] == "rows.jsonl:1"


def test_contexts_may_be_what_is_chosen(
    write_rows: Any, answers_of: Any, make_tiny: Any, tokenizer: TextTokenizer
) -> None:
    """As in WinoGrande: the same ending after two beginnings."""
    row = {"context_options": ["ba ke lo", "mi nu ra"], "continuation": "se ti vo.", "gold": 1}
    found = answers_of({"type": "choices", "path": write_rows([row])})
    first, second = (naive(make_tiny("llama"), tokenizer, one, "se ti vo.") for one in row["context_options"])
    assert found.measures["accuracy"].value == float(second > first)
    assert found.measures["nats_per_byte"].value == pytest.approx(-second / len(b" se ti vo."), rel=1e-5)


def test_forms_of_rows() -> None:
    template = Choices(
        path="x", template="{context}\nQuestion: {question}\nAnswer:", choices=("yes", "no", "maybe"), gold="label"
    )
    item = template.item({"context": "c", "question": "q?", "label": "no"})
    assert [pair.continuation for pair in item.pairs] == ["yes", "no", "maybe"]
    assert (item.pairs[0].context, item.gold) == ("c\nQuestion: q?\nAnswer: ", 1)
    # A choice that stands there twice counts once, and the right one is still found.
    item = Choices(path="x").item({"query": "q", "choices": ["b", "b", "c"], "gold": 2})
    assert ([pair.continuation for pair in item.pairs], item.gold) == (["b", "c"], 1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"choices": ["a", "b"], "gold": 0}, "no text in field 'query'"),
        ({"query": "q", "gold": 0}, "field 'choices' is no list of texts"),
        ({"query": "q", "choices": ["a", "b"], "gold": 2}, "no right choice"),
        ({"query": "q", "choices": ["a", "b"]}, "no right choice"),
        ({"query": "q", "choices": ["a", "b"], "gold": "c"}, "no right choice"),
        ({"query": "q", "choices": ["a", "a"], "gold": 0}, "fewer than two choices"),
        ({"query": "q", "choices": ["a", " "], "gold": 0}, "an empty choice"),
    ],
)
def test_rows_that_ask_nothing(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        Choices(path="x").item(row)


def test_a_model_that_says_nothing_is_never_right(
    write_rows: Any, answers_of: Any, make_tiny: Any, tokenizer: TextTokenizer
) -> None:
    """To a model of equal logits two choices of one length are alike: a tie is no win, whichever comes first."""
    model = make_tiny("llama")
    model.lm_head.weight.data.zero_()
    rows = [{"query": "ba", "choices": ["ke", "lo"], "gold": gold} for gold in (0, 1)]
    found = answers_of({"type": "choices", "path": write_rows(rows)}, model)
    tokens = [len(request.continuation) for request in requests(tokenizer, [Pair("ba ", "ke"), Pair("ba ", "lo")])]
    assert tokens[0] == tokens[1]
    assert found.measures["accuracy"].value == found.measures["accuracy_per_byte"].value == 0
    nats = tokens[0] * math.log(model.config.vocab_size)
    assert found.measures["nats_per_byte"].values_N.tolist() == pytest.approx([nats, nats])
