"""What models of any kind are asked about facts: how likely an answer is in its place, and which answer they give.

Shapes: N spans.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rewarm.models.encoder import longest_text
from rewarm.types import UserError

Done = Callable[[int], None]
"""Told how many spans, or blanks, have been finished since the last call."""


class Span(NamedTuple):
    """An answer in its place: `prompt`, a blank, `answer`, `suffix`."""

    prompt: str
    answer: str
    suffix: str = "."


class Blank(NamedTuple):
    """A place to be filled in. `longest`: tokens of the longest answer that questions of its kind have."""

    prompt: str
    suffix: str
    longest: int


@dataclass(frozen=True, slots=True)
class SpanScores:
    """`logprob_N` is the natural logarithm of each span's probability, `tokens_N` the number of tokens it is over.

    `truncated` counts the spans whose surroundings were longer than the model reads, and were cut.
    """

    logprob_N: NDArray[np.float64]
    tokens_N: NDArray[np.int64]
    truncated: int


class SpanScorer(ABC):
    """A model with its tokenizer, as one that can be asked about facts.

    Laws: scores depend on the span alone (beyond rounding); a generated answer depends on its blank alone.
    """

    reads: ClassVar[str]
    """What kind of model it is for, in words."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @property
    @abstractmethod
    def settings(self) -> tuple[str, ...]:
        """What its scores depend on besides the model: how the tokenizer splits text, and options."""

    @abstractmethod
    def score(self, spans: Sequence[Span], done: Done = lambda spans: None) -> SpanScores:
        """How likely each answer is in its place. UserError for an answer without a token."""

    @abstractmethod
    def count(self, answers: Sequence[str]) -> list[int]:
        """Tokens of each answer."""

    @abstractmethod
    def generate(self, blanks: Sequence[Blank], done: Done = lambda blanks: None) -> list[str]:
        """What the model itself writes into each blank, greedily. The length of the right answer is not used."""


def tokenizer_key(tokenizer: PreTrainedTokenizerFast) -> str:
    """A hash of how a tokenizer splits text."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def joined(prompt: str, answer: str) -> str:
    """Prompt and answer with one blank between them, or the answer alone where nothing stands before it."""
    prompt = prompt.rstrip()
    return f"{prompt} {answer}" if prompt else answer


def positions(model: PreTrainedModel, most: int) -> int:
    """How many tokens the model reads at once, at most `most`."""
    held = longest_text(model)
    return most if held is None else min(most, held)


def refuse_empty(spans: Sequence[Span], tokens_N: Sequence[int]) -> None:
    """UserError when an answer has no token to be scored by."""
    for span, tokens in zip(spans, tokens_N, strict=True):
        if not tokens:
            raise UserError(
                f"the answer {span.answer!r} after {span.prompt!r} has no token of its own, so it cannot be scored: "
                "leave its probe out, or give it an answer that the model's tokenizer can write"
            )
