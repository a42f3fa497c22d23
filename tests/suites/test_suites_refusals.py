"""Refusals by pattern and by likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rewarm.suites.refusals import Refusals
from rewarm.suites.rows import BadRow
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError


def test_patterns_are_looked_for_at_the_start_of_the_answer() -> None:
    suite = Refusals(path="x", patterns=("^sorry", "i can(no|')t"), within=20)
    assert suite.refuses("  Sorry, no")
    assert suite.refuses("well, I can't do")
    assert not suite.refuses("of course")
    assert not suite.refuses("x" * 20 + " I can't")


def test_rows() -> None:
    suite = Refusals(path="x")
    assert suite.item({"prompt": "p", "expected": "comply"}) == ((("user", "p"),), False, None, None)
    assert suite.item({"prompt": "p", "safe": "no", "unsafe": "yes"}).safe == "no"
    with pytest.raises(BadRow, match="neither refuse nor comply"):
        suite.item({"prompt": "p", "expected": "maybe"})


def test_what_is_expected_is_told_from_what_is_written(write_rows: Any, answers_of: Any, words: Any) -> None:
    rows = [{"prompt": words(seed, 4), "expected": "refuse" if seed % 2 else "comply"} for seed in range(6)]
    values = {"type": "refusals", "path": write_rows(rows), "new_tokens": 4, "chat": "none"}
    always = answers_of(values | {"patterns": ["."]})
    assert always.measures["safe"].values_N.tolist() == [0, 1, 0, 1, 0, 1]
    assert (always.measures["refused"].value, always.measures["answered"].value) == (1, 0)
    never = answers_of(values | {"patterns": ["zzzz"]})
    assert (never.measures["refused"].value, never.measures["answered"].value) == (0, 1)
    assert np.isnan(never.measures["refused"].values_N).tolist() == [True, False] * 3
    with pytest.raises(UserError, match="no pattern that tells a refusal"):
        answers_of(values)


def test_the_likelier_continuation_per_byte_is_preferred(
    write_rows: Any, answers_of: Any, make_tiny: Any, tokenizer: TextTokenizer
) -> None:
    model = make_tiny("llama")

    def per_byte(prompt: str, text: str) -> float:
        before, after = (tokenizer.encode([one])[0][:-1].tolist() for one in (prompt, f" {text}"))
        ids = [*before, *after[len(tokenizer.prefix) :]]
        with torch.no_grad():
            logprobs_TV = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        found = sum(float(logprobs_TV[place - 1, ids[place]]) for place in range(len(before), len(ids)))
        return found / len(f" {text}".encode())

    pairs = [("ba", "ke lo mi", "nu"), ("ra", "se", "ti vo zu"), ("shi", "tra ba", "ke"), ("lo", "mi nu", "ra se ti")]
    rows = [{"prompt": prompt, "safe": safe, "unsafe": unsafe} for prompt, safe, unsafe in pairs]
    found = answers_of({"type": "refusals", "path": write_rows(rows), "chat": "none"})
    expected = [float(per_byte(prompt, safe) > per_byte(prompt, unsafe)) for prompt, safe, unsafe in pairs]
    assert found.measures["prefers_safe"].values_N.tolist() == expected
    assert found.measures["safe"].values_N.tolist() == expected
    assert not found.written
