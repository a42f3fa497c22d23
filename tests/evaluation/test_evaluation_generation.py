"""Many greedy continuations at once are those that each prompt gets alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation import generation
from rewarm.evaluation.generation import budget, greedy, until

MakeTiny = Callable[..., Any]


def prompts(lengths: list[int]) -> list[list[int]]:
    source = np.random.default_rng(5)
    return [source.integers(3, 400, length).tolist() for length in lengths]


@torch.no_grad()
def decoded(model: Any, prompt: list[int], new: int, ends: list[int]) -> list[int]:
    """By the model's logits over the whole text, one token after the other, nothing kept."""
    ids = list(prompt)
    for _ in range(new):
        ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] in ends:
            break
    return until(ids[len(prompt) :], ends)


def test_equal_to_decoding_one_by_one(
    make_tiny: MakeTiny, sharpened: Callable[[Any], Any], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where batches are cut into several, and against transformers' own generate."""
    model = sharpened(make_tiny(family))
    asked, new, ends = prompts([1, 3, 12, 12, 12, 30, 30]), [4, 8, 8, 8, 4, 8, 16], [1, *range(200, 230)]
    told: list[int] = []
    found = greedy(model, asked, new, ends, told.append)
    assert found == [decoded(model, prompt, more, ends) for prompt, more in zip(asked, new, strict=True)]
    assert sum(told) == len(asked)
    monkeypatch.setattr(generation, "batch_tokens", lambda model: 1)
    assert greedy(model, asked, new, ends) == found
    whole = model.generate(
        torch.tensor([asked[2]]), do_sample=False, max_new_tokens=8, eos_token_id=ends, pad_token_id=1
    )
    assert found[2] == until(whole[0, 12:].tolist(), ends)


def test_published_habits_do_not_count_and_come_back(make_tiny: MakeTiny, sharpened: Callable[[Any], Any]) -> None:
    model = sharpened(make_tiny("llama")).train()
    asked = prompts([6, 6, 9])
    expected = greedy(model, asked, [8] * 3, [1])
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.do_sample = True
    habits = model.generation_config
    assert greedy(model, asked, [8] * 3, [1]) == expected
    assert model.generation_config is habits
    assert model.training


def test_budget_is_the_longest_answer_with_a_margin_as_a_power_of_two() -> None:
    assert [budget(longest) for longest in (1, 4, 5, 12, 13, 60)] == [8, 8, 16, 16, 32, 64]


def test_until_the_first_end() -> None:
    assert until([5, 6, 1, 7], [1, 2]) == [5, 6]
    assert until([1, 5], [1]) == []
    assert until([5, 6], [1]) == [5, 6]
