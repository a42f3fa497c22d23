"""What the text of each stage asks of the vocabulary."""

from __future__ import annotations

from rewarm.report.part import Part


class StageVocabulary(Part):
    """The text of one stage against the old text and the stages before it.

    `new_pieces` are entries of the vocabulary that nothing before it uses, `new_share` their share of its tokens;
    `new_words` is how many of 1,000 running words do not occur in samples, of as much text, of what came before. None
    where there is no text to hold it against, or no word in it.
    """

    stage: str
    tokens_per_byte: float
    pieces: int
    new_pieces: int | None
    new_share: float | None
    words: int
    new_words: float | None


class Vocabulary(Part):
    """Every stage's text, in the order of the plan; `against` names the old corpora, and `sample` is in tokens."""

    stages: list[StageVocabulary]
    against: list[str]
    size: int
    sample: int
