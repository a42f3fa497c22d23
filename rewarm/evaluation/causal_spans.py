"""Facts asked of causal models: the prompt is read, the answer is predicted token by token.

A tokenizer may draw the border between prompt and answer elsewhere than the text does. Prompt and prompt + answer are
therefore tokenised as the texts they are, and the answer's tokens are those behind the common beginning: where the
answer has merged with the end of the prompt, the merged token counts as the answer's. Contexts begin as rewarm's
training documents do (with BOS if the tokenizer puts it there); where nothing stands before an answer, EOS does, which
is what a document follows in a packed row. The suffix is not read.

Shapes: N spans, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rewarm.evaluation.generation import budget, greedy
from rewarm.evaluation.likelihood import Request, Scorer
from rewarm.evaluation.spans import Blank, Done, Span, SpanScorer, SpanScores, joined, positions, refuse_empty
from rewarm.tokens.tokenizer import TextTokenizer

MAX_LENGTH = 2048
"""Tokens of a prompt and its answer; longer prompts lose their beginning."""
Ids = NDArray[np.unsignedinteger[Any]]


class CausalSpans(SpanScorer):
    """A causal model; prompts that many answers share are read once (rewarm.evaluation.likelihood)."""

    reads = "causal language model"

    def __init__(self, model: PreTrainedModel, tokenizer: TextTokenizer) -> None:
        super().__init__(model)
        self.tokenizer = tokenizer
        self.max_length = positions(model, MAX_LENGTH)
        self.scorer = Scorer(model, self.max_length)

    @property
    def settings(self) -> tuple[str, ...]:
        """The tokenizer's hash and how much is read."""
        return (self.tokenizer.hash, str(self.max_length))

    def score(self, spans: Sequence[Span], done: Done = lambda spans: None) -> SpanScores:
        """Log-probability of each answer's tokens after its prompt."""
        found = self.scorer.score(self.requests(spans), done)
        return SpanScores(found.logprob_N, found.tokens_N, found.truncated)

    def requests(self, spans: Sequence[Span]) -> list[Request]:
        """Each span as token ids: what is read, and what is predicted. UserError for an answer without a token."""
        prompts = list(dict.fromkeys(span.prompt for span in spans))
        before = dict(zip(prompts, self._open([prompt.rstrip() for prompt in prompts]), strict=True))
        wholes = self._open([joined(span.prompt, span.answer) for span in spans])
        made = []
        for span, whole_T in zip(spans, wholes, strict=True):
            same = _common(before[span.prompt], whole_T)
            made.append(Request(whole_T[:same].tolist() or [self.tokenizer.eos_id], whole_T[same:].tolist()))
        refuse_empty(spans, [len(request.continuation) for request in made])
        return made

    def _open(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of texts that go on: with what opens a document, without what closes it."""
        return [ids_T[:-1] for ids_T in self.tokenizer.encode(texts)]

    def count(self, answers: Sequence[str]) -> list[int]:
        """Tokens of each answer behind a blank."""
        opening = len(self.tokenizer.prefix)
        return [len(ids_T) - opening for ids_T in self._open([f" {answer}" for answer in answers])]

    def generate(self, blanks: Sequence[Blank], done: Done = lambda blanks: None) -> list[str]:
        """The text after each prompt by greedy decoding, until a line or the document ends or the budget is spent."""
        new = [min(budget(blank.longest), self.max_length - 1) for blank in blanks]
        opened = self._open([blank.prompt.rstrip() for blank in blanks])
        prompts = [
            ids_T[-(self.max_length - more) :].tolist() or [self.tokenizer.eos_id]
            for ids_T, more in zip(opened, new, strict=True)
        ]
        return [self.tokenizer.decode(ids) for ids in greedy(self.model, prompts, new, self._ends, done)]

    @cached_property
    def _ends(self) -> list[int]:
        """EOS and every token that holds the end of a line."""
        lines = [token for token in range(self.tokenizer.vocab_size) if "\n" in self.tokenizer.decode([token])]
        return [self.tokenizer.eos_id, *lines]


def _common(first_T: Ids, second_T: Ids) -> int:
    """Length of the common beginning."""
    length = min(len(first_T), len(second_T))
    different = np.flatnonzero(first_T[:length] != second_T[:length])
    return int(different[0]) if len(different) else length
