"""Greedy continuations of prompts of any lengths, many at once and without padding.

Rows of a batch start together at the length of the shortest prompt. At every step a row takes its own next token: that
of its prompt while there is one, then the likeliest. So no row ever sees padding, positions are those it would have
alone, and prompts of different lengths still share every pass.

Shapes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.evaluation.generation import greedy, plainly, rows_at_once, until

_SPREAD = 16
"""Prompts of a batch differ by at most this many tokens, or by half of what is written: each one is a pass more."""


class Written(NamedTuple):
    """What a model wrote after a prompt, without what ended it; `stopped` says that it ended by itself."""

    ids: list[int]
    stopped: bool


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    ends: Sequence[int],
    done: Callable[[int], None] = lambda prompts: None,
) -> list[Written]:
    """The likeliest next token again and again after each prompt (of at least one token): at most `new_tokens` of
    them, up to the first of `ends`. `done` is told how many prompts each batch finished."""
    found: list[Written] = [Written([], False)] * len(prompts)
    if model._is_stateful:
        # A recurrent state is no cache of keys and values: prompts of one length, as the library decodes them.
        for number, ids in enumerate(greedy(model, prompts, [new_tokens] * len(prompts), ends, done)):
            found[number] = Written(ids, len(ids) < new_tokens)
        return found
    with plainly(model):
        for numbers in _batches(model, [len(prompt) for prompt in prompts], new_tokens):
            rows = _together(model, [prompts[number] for number in numbers], new_tokens, ends)
            for number, ids in zip(numbers, rows, strict=True):
                kept = until(ids, ends)
                found[number] = Written(kept, len(kept) < len(ids))
            done(len(numbers))
    return found


def _batches(model: PreTrainedModel, lengths: Sequence[int], new_tokens: int) -> Iterator[list[int]]:
    """Numbers of prompts of nearly equal length, the shortest first."""
    spread = max(_SPREAD, new_tokens // 2)
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: (lengths[number], number)):
        if batch and (
            len(batch) == rows_at_once(model, lengths[number] + new_tokens)
            or lengths[number] - lengths[batch[0]] > spread
        ):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _together(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], new_tokens: int, ends: Sequence[int]
) -> list[list[int]]:
    """The ids written after each prompt, the first end among them."""
    lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    shortest, longest = int(lengths_B.min()), int(lengths_B.max())
    prompts_BT = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        prompts_BT[row, : len(prompt)] = torch.from_numpy(np.asarray(prompt, np.int64))
    prompts_BT = prompts_BT.to(model.device)
    ends_E = torch.tensor(list(ends), device=model.device)
    stopped_B = torch.zeros_like(lengths_B, dtype=torch.bool)
    taken: list[Tensor] = []
    read_BT, cache, last = prompts_BT[:, :shortest], None, _last(model)
    for place in range(shortest, longest + new_tokens):
        outcome: Any = model(input_ids=read_BT, past_key_values=cache, use_cache=True, **last)
        cache = outcome.past_key_values
        likeliest_B = outcome.logits[:, -1].argmax(dim=-1)
        writes_B = lengths_B <= place
        next_B = likeliest_B if place >= longest else torch.where(writes_B, likeliest_B, prompts_BT[:, place])
        taken.append(next_B)
        stopped_B |= writes_B & (torch.isin(next_B, ends_E) | (place + 1 >= lengths_B + new_tokens))
        if bool(stopped_B.all()):
            break
        read_BT = next_B[:, None]
    made = torch.stack(taken, dim=1).tolist()
    return [
        row[length - shortest : length - shortest + new_tokens]
        for row, length in zip(made, lengths_B.tolist(), strict=True)
    ]


def _last(model: PreTrainedModel) -> dict[str, int]:
    """Only the last position's logits, where the model can leave out the others."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
