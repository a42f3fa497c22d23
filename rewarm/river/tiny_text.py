"""A word of warning where a stage learns from very little raw text."""

from __future__ import annotations

from collections.abc import Callable

from rewarm.plan import Plan, Scratch
from rewarm.quantities import short

FEW_TOKENS = 10_000_000
"""Ours: the study's own corpus had 1.3 M tokens."""
_OTHER = frozenset({"chat", "code", "paraphrased", "preferences", "records"})
"""Types whose rows are no raw text, or already say each thing in several ways."""


def notes(plan: Plan, tokens: Callable[[str], int | None]) -> list[str]:
    """A note for each stage whose new plain text has fewer than `FEW_TOKENS` to train on (`tokens` of a corpus, where
    known). None for a base from scratch, which has nothing to recall."""
    found: list[str] = []
    for stage in [] if isinstance(plan.base, Scratch) else plan.stages:
        raw = [one.corpus for one in stage.data if plan.corpora[one.corpus].method_name() not in _OTHER]
        held = [tokens(corpus) for corpus in raw]
        total = sum(count for count in held if count is not None)
        if raw and None not in held and total < FEW_TOKENS:
            found.append(
                f"stage '{stage.name}' learns from {short(total)} tokens of raw text. So little may lower what the "
                "model can recall of it: on 1.3 M tokens, answers without the text at hand went from 39.49 to 38.15 % "
                "right (EntiGraph, arXiv 2409.07431). Say each thing in several ways: a corpus of type paraphrased "
                "takes your own paraphrases (docs/instruct.md)"
            )
    return found
