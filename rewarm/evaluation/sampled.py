"""Continuations drawn from a model, several of each prompt: what is drawn follows from the seed and the prompt's place.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from rewarm.evaluation.decoding import Written
from rewarm.evaluation.generation import plainly, rows_at_once, until
from rewarm.evaluation.spans import Done
from rewarm.hashing import seed_of


@dataclass(frozen=True, slots=True)
class Drawing:
    """How many continuations of a prompt, at which temperature, of which part of the probability, under which seed."""

    samples: int
    temperature: float
    top_p: float
    seed: int


def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    ends: Sequence[int],
    drawing: Drawing,
    done: Done = lambda prompts: None,
) -> list[list[Written]]:
    """`drawing.samples` continuations of each prompt, of at most `new_tokens`, up to the first of `ends`.

    Each prompt is drawn by itself, so other prompts do not change what it gets; the caller's random state stays.
    """
    found: list[list[Written]] = []
    devices = [model.device] if model.device.type == "cuda" else []
    with plainly(model), torch.random.fork_rng(devices=devices):
        for number, prompt in enumerate(prompts):
            torch.manual_seed(seed_of(drawing.seed, "sample", str(number)) % (1 << 63))
            rows, at_once = [], rows_at_once(model, len(prompt) + new_tokens)
            for start in range(0, drawing.samples, at_once):
                rows += _drawn(model, prompt, min(at_once, drawing.samples - start), new_tokens, ends, drawing)
            found.append(rows)
            done(1)
    return found


def _drawn(
    model: PreTrainedModel, prompt: Sequence[int], rows: int, new_tokens: int, ends: Sequence[int], drawing: Drawing
) -> list[Written]:
    prompt_BT = torch.tensor([list(prompt)] * rows, device=model.device)
    options: dict[str, Any] = {"temperature": drawing.temperature, "top_p": drawing.top_p, "top_k": 0}
    made_BT: torch.Tensor = model.generate(  # type: ignore[operator]
        prompt_BT, attention_mask=torch.ones_like(prompt_BT), do_sample=True, max_new_tokens=new_tokens,
        eos_token_id=list(ends), pad_token_id=ends[0], use_cache=True, **options,
    )  # fmt: skip
    found = []
    for row in made_BT[:, len(prompt) :].tolist():
        ids = until(row, ends)
        found.append(Written(ids, len(ids) < len(row)))
    return found
