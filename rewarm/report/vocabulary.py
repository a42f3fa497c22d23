"""The part of the report on vocabulary: how well the tokenizer fits the text of each stage."""

from __future__ import annotations

from rewarm.quantities import short
from rewarm.report.vocabulary_parts import StageVocabulary, Vocabulary

HEADS = ("stage", "tokens per byte", "pieces used", "of them new", "tokens that are new pieces", "new words per 1,000")


def about(held: Vocabulary) -> str:
    """What the columns mean, and what this run was held against."""
    old = f"the old text ({', '.join(held.against)})" if held.against else "no old text, as the run holds none"
    return (
        f"The vocabulary has {short(held.size)} pieces. New is what neither {old} nor an earlier stage uses; words are "
        f"split at white space and looked at in a sample of {short(held.sample)} tokens of each corpus. Many tokens "
        "per byte say that the tokenizer fits the text badly. Losses in this report are per byte, so that they do not "
        "depend on it."
    )


def lines(held: Vocabulary) -> list[list[str]]:
    """A row of `HEADS` for each stage; a dash where there is nothing to hold it against."""
    return [_line(one) for one in held.stages]


def _line(one: StageVocabulary) -> list[str]:
    return [
        one.stage,
        f"{one.tokens_per_byte:.3f}",
        f"{one.pieces:,}",
        "–" if one.new_pieces is None else f"{one.new_pieces:,}",
        "–" if one.new_share is None else f"{100 * one.new_share:.2f}%",
        "–" if one.new_words is None else f"{one.new_words:.0f}",
    ]
