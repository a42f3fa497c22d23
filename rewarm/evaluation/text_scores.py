"""Scores of written answers: exact match, BLEU of a corpus, and smoothed BLEU of each text.

BLEU: Papineni et al. 2002, 100 * exp(mean over n = 1..4 of ln p_n) * min(1, exp(1 - r / c)), p_n the clipped
precision of n-grams, r and c the words of the right and the written answers; by sacrebleu (Post 2018), the extra
`bleu`. Smoothed: 1 is added to the counts of n-grams from n = 2 on (Lin & Och 2004), as is usual of short summaries.
An answer that copies most of its prompt has a high BLEU where the right one does, too (a repaired program): read
exact match beside it.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.types import UserError


def exact_match(said: Sequence[str], right: Sequence[str]) -> NDArray[np.float64]:
    """1 for each text that is the right one, else 0 (N,); space around the text and at the ends of lines is no
    difference."""
    _check_pairs(said, right)
    return np.array([float(_tidy(one) == _tidy(other)) for one, other in zip(said, right, strict=True)])


def bleu(said: Sequence[str], right: Sequence[str]) -> float:
    """BLEU of the whole, from 0 to 100, with one right answer for each text. UserError without sacrebleu, and for no
    text."""
    _check_pairs(said, right)
    return float(_metric(smoothed=False).corpus_score(list(said), [list(right)]).score)


def smoothed_bleu(said: Sequence[str], right: Sequence[str]) -> NDArray[np.float64]:
    """Smoothed BLEU of each text (N,), from 0 to 100: its mean is the score of a set of summaries. UserError as of
    `bleu`."""
    _check_pairs(said, right)
    metric = _metric(smoothed=True)
    return np.array([metric.sentence_score(one, [other]).score for one, other in zip(said, right, strict=True)])


def bleu_signature(smoothed: bool = False) -> str:
    """What a score was made with, to keep beside it: tokenizer, case, smoothing and version, as sacrebleu writes it."""
    metric = _metric(smoothed)
    (metric.sentence_score("a", ["a"]) if smoothed else metric.corpus_score(["a"], [["a"]]))
    return str(metric.get_signature())


def check_bleu() -> None:
    """UserError, with the remedy, where the library that computes BLEU is not installed."""
    if find_spec("sacrebleu") is None:
        raise UserError(
            "bleu: the library that computes it is not installed. Install it with: pip install 'rewarm[bleu]', or "
            "score by exact match"
        )


def _metric(smoothed: bool) -> Any:
    check_bleu()
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(smooth_method="add-k", smooth_value=1, effective_order=True) if smoothed else BLEU()


def _check_pairs(said: Sequence[str], right: Sequence[str]) -> None:
    if len(said) != len(right) or not said:
        raise UserError(f"{len(said)} texts and {len(right)} right answers: give one answer for each, and at least one")


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
