"""How likely continuations of texts are, many at once: what suites by likelihood rest on.

A tokenizer may draw the border between a context and its continuation elsewhere than the text does, so both are
tokenised as the texts they are, and the tokens behind the common beginning are the continuation's (as for facts,
rewarm/evaluation/causal_spans.py).

Shapes: N pairs, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarm.evaluation.causal_spans import MAX_LENGTH
from rewarm.evaluation.likelihood import Request, Scorer
from rewarm.evaluation.spans import positions
from rewarm.suites import Asked
from rewarm.suites.writing import Prompts
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import counted

BLOCK = 4000
"""Pairs scored at a time: requests of a whole suite would take more memory than a small model."""


class Pair(NamedTuple):
    """A text and what follows it, as they stand: a blank between them belongs to either of the two."""

    context: str
    continuation: str


@dataclass(frozen=True, slots=True)
class PairScores:
    """`logprob_N`: natural logarithm of each continuation's probability, `bytes_N` the size of its text, the blanks
    before it included. `greedy_N`: it is what greedy decoding gives. `truncated` contexts lost their beginning."""

    logprob_N: NDArray[np.float64]
    bytes_N: NDArray[np.float64]
    greedy_N: NDArray[np.bool_]
    truncated: int


def score(asked: Asked, pairs: Sequence[Pair], label: str) -> PairScores:
    """Scores of all pairs, in their order. A continuation that the tokenizer writes with no token of its own, or that
    is longer than the model reads, is given up as infinitely unlikely."""
    scorer = Scorer(asked.model, positions(asked.model, MAX_LENGTH))
    logprob_N, greedy_N = np.full(len(pairs), -np.inf), np.zeros(len(pairs), bool)
    truncated = 0
    tell = counted(asked.tell, label, len(pairs), "continuations")
    for start in range(0, len(pairs), BLOCK):
        made = requests(asked.tokenizer, pairs[start : start + BLOCK])
        usable = [place for place, one in enumerate(made) if 0 < len(one.continuation) <= scorer.max_length]
        found = scorer.score([made[place] for place in usable], tell)
        at_N = start + np.array(usable, np.int64)
        logprob_N[at_N], greedy_N[at_N] = np.where(np.isnan(found.logprob_N), -np.inf, found.logprob_N), found.greedy_N
        truncated += found.truncated
    sizes = [len(_split(pair)[1].encode()) for pair in pairs]
    return PairScores(logprob_N, np.array(sizes, np.float64), greedy_N, truncated)


def per_byte_after(asked: Asked, prompts: Prompts, continuations: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Log-probability per byte of each of K continuations after each prompt of N, as (N, K)."""
    count = len(continuations[0])
    texts = [f"{prompts.between}{text}" for own in continuations for text in own]
    opening = len(asked.tokenizer.prefix)
    ids = [ids_T[opening:].tolist() for ids_T in _open(asked.tokenizer, texts)]
    made = [Request(prompts.ids[place // count], continuation) for place, continuation in enumerate(ids)]
    scorer = Scorer(asked.model, positions(asked.model, MAX_LENGTH))
    found = scorer.score(made, counted(asked.tell, "score continuations", len(made), "continuations"))
    sizes = np.array([len(text.encode()) for text in texts], np.float64)
    # A diverged model's log-probabilities are no numbers, which no comparison would hold against it.
    logprob_N = np.where(np.isnan(found.logprob_N), -np.inf, found.logprob_N)
    return (logprob_N / sizes).reshape(-1, count)


def requests(tokenizer: TextTokenizer, pairs: Sequence[Pair]) -> list[Request]:
    """Each pair as token ids: what is read (EOS where nothing stands before), and what is predicted."""
    split = [_split(pair) for pair in pairs]
    contexts = list(dict.fromkeys(context for context, _ in split))
    before = dict(zip(contexts, _open(tokenizer, contexts), strict=True))
    wholes = _open(tokenizer, [context + continuation for context, continuation in split])
    made = []
    for (context, _), whole_T in zip(split, wholes, strict=True):
        same = _common(before[context], whole_T)
        made.append(Request(whole_T[:same].tolist() or [tokenizer.eos_id], whole_T[same:].tolist()))
    return made


def _split(pair: Pair) -> tuple[str, str]:
    """Context and continuation with the blanks between them at the continuation's side, where tokenizers put them."""
    context = pair.context.rstrip()
    return context, pair.context[len(context) :] + pair.continuation


def _open(tokenizer: TextTokenizer, texts: Sequence[str]) -> list[NDArray[Any]]:
    """Ids of texts that go on: with what opens a document, without what closes it."""
    return [ids_T[:-1] for ids_T in tokenizer.encode(texts)]


def _common(first: NDArray[Any], second: NDArray[Any]) -> int:
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length
