"""What a model writes after prompts, greedily: what suites by generation rest on.

Shapes: N prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rewarm.evaluation.causal_spans import MAX_LENGTH
from rewarm.evaluation.decoding import decode
from rewarm.evaluation.sampled import Drawing, sample
from rewarm.evaluation.spans import positions
from rewarm.suites import Asked
from rewarm.suites.asking import NO_TEMPLATE
from rewarm.tokens.chat import ChatEncoder
from rewarm.tokens.templates import choose
from rewarm.types import counted


class Said(NamedTuple):
    """What a model wrote: `text` (up to the first of the stop texts), its ids, whether it stopped by itself."""

    text: str
    ids: list[int]
    stopped: bool


Messages = Sequence[tuple[str, str]]
"""Roles and contents."""


class Prompts(NamedTuple):
    """Prompts as token ids, the ids that end an answer to them, and what stands between the two."""

    ids: list[list[int]]
    ends: tuple[int, ...]
    between: str = " "


def prompts(asked: Asked, conversations: Sequence[Messages], chat: str) -> Prompts:
    """Prompts that ask for an answer to each conversation.

    `chat` is the template, as a corpus of conversations names it (rewarm/tokens/templates.py): auto, tokenizer, plain,
    a file or a Jinja template; none puts their contents line by line. UserError for a template that fails.
    """
    if chat == NO_TEMPLATE:
        return plain(asked, ["\n".join(content for _, content in messages) for messages in conversations])
    encoder = ChatEncoder(choose(chat, asked.tokenizer))
    made = [encoder.prompt([{"role": role, "content": content} for role, content in one]) for one in conversations]
    return Prompts(made, tuple(sorted({*encoder.ends, asked.tokenizer.eos_id})), between="")


def plain(asked: Asked, texts: Sequence[str]) -> Prompts:
    """Prompts as they stand, opened as documents are; EOS ends an answer, and what is empty begins behind one."""
    tokenizer = asked.tokenizer
    encoded = tokenizer.encode([text.rstrip() for text in texts])
    return Prompts([ids_T[:-1].tolist() or [tokenizer.eos_id] for ids_T in encoded], (tokenizer.eos_id,))


def write(
    asked: Asked, prompts: Prompts, new_tokens: int, stop: Sequence[str] = (), label: str = "write answers"
) -> list[Said]:
    """What the model says to each prompt in at most `new_tokens`. Prompts longer than it reads lose their beginning."""
    room = max(1, positions(asked.model, MAX_LENGTH) - new_tokens)
    done = counted(asked.tell, label, len(prompts.ids), "answers")
    found = decode(asked.model, [ids[-room:] for ids in prompts.ids], new_tokens, prompts.ends, done)
    return [_said(asked.tokenizer.decode, ids, stopped, stop) for ids, stopped in found]


def write_several(asked: Asked, prompts: Prompts, new_tokens: int, drawing: Drawing) -> list[list[Said]]:
    """Several things the model says to each prompt, drawn. Prompts longer than it reads lose their beginning."""
    room = max(1, positions(asked.model, MAX_LENGTH) - new_tokens)
    done = counted(asked.tell, "write answers", len(prompts.ids), "prompts")
    found = sample(asked.model, [ids[-room:] for ids in prompts.ids], new_tokens, prompts.ends, drawing, done)
    return [[_said(asked.tokenizer.decode, ids, stopped, ()) for ids, stopped in several] for several in found]


def _said(decoded: Callable[[Sequence[int]], str], ids: list[int], stopped: bool, stop: Sequence[str]) -> Said:
    text = decoded(ids)
    places = [place for one in stop if (place := text.find(one)) >= 0]
    # A stop text ends the answer as an end-of-text token would, for models that have never seen one.
    return Said(text[: min(places)], ids, True) if places else Said(text, ids, stopped)
