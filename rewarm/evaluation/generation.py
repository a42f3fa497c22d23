"""Greedy continuations of many prompts, with keys and values kept, in batches of prompts of one length.

Without padding every kind of model (recurrent ones, windows, positions of any kind) gives in company what it gives
alone. Shapes: B rows, T tokens of a prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from rewarm.evaluation.likelihood import LOGIT_BYTES
from rewarm.evaluation.passes import batch_tokens
from rewarm.evaluation.spans import Done
from rewarm.objectives.probing import probing

MARGIN = 4
"""Tokens beyond the longest answer: what ends a sentence must fit, too."""


def budget(longest: int) -> int:
    """New tokens to ask for: the longest answer and a margin, rounded up to a power of two, so that batches are few."""
    return int(2 ** (longest + MARGIN - 1).bit_length())


@contextmanager
def plainly(model: PreTrainedModel) -> Iterator[None]:
    """Meanwhile the model is in evaluation mode, without gradients and the decoding habits it was published with."""
    published = model.generation_config
    start = getattr(model.config, "decoder_start_token_id", None)
    model.generation_config = GenerationConfig(decoder_start_token_id=start)
    try:
        with probing(model):
            yield
    finally:
        model.generation_config = published


def greedy(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    new_tokens: Sequence[int],
    ends: Sequence[int],
    done: Done = lambda prompts: None,
) -> list[list[int]]:
    """The likeliest next token again and again: at most `new_tokens` of them, up to (without) the first of `ends`."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, (prompt, new) in enumerate(zip(prompts, new_tokens, strict=True)):
        alike[len(prompt), new].append(number)
    found: list[list[int]] = [[]] * len(prompts)
    with plainly(model):
        for (length, new), numbers in sorted(alike.items()):
            rows = rows_at_once(model, length + new)
            for start in range(0, len(numbers), rows):
                chosen = numbers[start : start + rows]
                prompts_BT = torch.tensor([prompts[number] for number in chosen], device=model.device)
                made = continued(model, {"input_ids": prompts_BT}, new, ends)
                for number, row in zip(chosen, made[:, length:].tolist(), strict=True):
                    found[number] = until(row, ends)
                done(len(chosen))
    return found


def continued(model: PreTrainedModel, inputs: dict[str, Any], new_tokens: int, ends: Sequence[int]) -> torch.Tensor:
    """Rows of ids by greedy decoding; behind the first of `ends` stands padding (its own id again)."""
    known = inputs if "attention_mask" in inputs else inputs | {"attention_mask": torch.ones_like(inputs["input_ids"])}
    made: torch.Tensor = model.generate(  # type: ignore[operator]
        **known, do_sample=False, max_new_tokens=new_tokens, eos_token_id=list(ends), pad_token_id=ends[0],
        use_cache=True,
    )  # fmt: skip
    return made


def rows_at_once(model: PreTrainedModel, length: int) -> int:
    """Rows of a batch: what a pass holds, and no more logits than are held at once."""
    vocabulary = int(model.get_output_embeddings().weight.shape[0])
    return max(1, min(batch_tokens(model) // length, LOGIT_BYTES // (4 * vocabulary)))


def until(ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The ids before the first that ends the text."""
    return list(ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))])
