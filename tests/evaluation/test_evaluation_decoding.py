"""Greedy continuations of prompts of all lengths at once are those of each prompt alone, token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rewarm.evaluation.decoding import decode


def alone(model: Any, prompt: list[int], new_tokens: int, ends: tuple[int, ...]) -> tuple[list[int], bool]:
    """The plainest loop: a pass over everything for each token."""
    ids = list(prompt)
    for _ in range(new_tokens):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token in ends:
            return ids[len(prompt) :], True
        ids.append(token)
    return ids[len(prompt) :], False


def prompts(count: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 400, (1 + place * 5 % 37,), generator=generator).tolist() for place in range(count)]


def test_every_family_writes_what_it_writes_alone(family: str, make_tiny: Any) -> None:
    model = make_tiny(family)
    found = decode(model, prompts(9), 5, (1,))
    assert [tuple(one) for one in found] == [alone(model, prompt, 5, (1,)) for prompt in prompts(9)]


def test_an_end_is_left_out_and_said(make_tiny: Any) -> None:
    model = make_tiny("llama")
    free = [alone(model, prompt, 6, ()) for prompt in prompts(9)]
    ends = (free[0][0][2], free[4][0][0])
    finished: list[int] = []
    found = decode(model, prompts(9), 6, ends, finished.append)
    assert [tuple(one) for one in found] == [alone(model, prompt, 6, ends) for prompt in prompts(9)]
    assert (found[4].ids, found[4].stopped) == ([], True)
    assert {one.stopped for one in found} == {True, False}
    assert sum(finished) == 9


@pytest.mark.parametrize("new_tokens", [1, 40])
def test_prompts_far_apart_in_length_go_in_batches_of_their_own(new_tokens: int, make_tiny: Any) -> None:
    model = make_tiny("llama")
    far = [prompts(1)[0], list(range(3, 73)), list(range(9, 12)), list(range(5, 74))]
    finished: list[int] = []
    found = decode(model, far, new_tokens, (1,), finished.append)
    assert finished == [2, 2]
    assert [tuple(one) for one in found] == [alone(model, prompt, new_tokens, (1,)) for prompt in far]
    assert not decode(model, [], 3, (1,))
