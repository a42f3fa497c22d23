"""Documents rearranged so that a model learns to fill in what is missing between what stands before and after it.

Nothing is drawn: every choice is a hash of a document's place in the row and a seed, so that a row found again is
rearranged alike, and the same text in a later epoch otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import fraction, seed_of
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.order import Segment
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

KNOWN = (
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
)
"""What models of code call the tokens before the prefix, the suffix and the middle."""
SHORTEST = 8
"""Tokens of text from which a document is rearranged: of a shorter one the three tokens would be too large a part."""

Ids = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Middles:
    """Of the documents in a row a share `rate` is rearranged; of these a share `suffix_first` begins with the suffix.

    `prefix_id`, `suffix_id` and `middle_id` are put before each part; `opening` and `closing` are the ids that begin a
    document and end it, and stay where they are.
    """

    prefix_id: int
    suffix_id: int
    middle_id: int
    opening: tuple[int, ...]
    closing: int
    rate: float = 0.5
    suffix_first: float = 0.5

    @classmethod
    def of(
        cls, tokenizer: TextTokenizer, names: Sequence[str] | None = None, rate: float = 0.5, suffix_first: float = 0.5
    ) -> Middles:
        """With three tokens of a tokenizer, those of `KNOWN` if none are named. UserError when it has none such."""
        asked = KNOWN if names is None else (tuple(names),)
        for one in asked:
            ids = [tokenizer.id_of(name) for name in one]
            found = [number for number in ids if number is not None]
            if len(found) == len(ids):
                return cls(found[0], found[1], found[2], tokenizer.prefix, tokenizer.eos_id, rate, suffix_first)
            if names is not None:
                missing = ", ".join(repr(name) for name, number in zip(one, ids, strict=True) if number is None)
                raise UserError(f"tokens: the tokenizer has no token {missing}. Name three that it has")
        raise UserError(
            "fill-in-middle marks a document's parts by three tokens, and the tokenizer has none of the known ones "
            f"(such as {', '.join(KNOWN[0])}). Name three of its tokens that occur in no text, as tokens: [prefix, "
            "suffix, middle]; without spare ones, train with objective: causal"
        )

    def rearranged(self, segment: Segment, seed: int) -> Segment:
        """The segment itself, or one of its length in another order: its last three tokens of text are left out.

        Left as it is when it is too short, when not all of it is learned, or when `seed` says so.
        """
        ids_T = segment.ids[: segment.length]
        opened = len(self.opening) if tuple(ids_T[: len(self.opening)].tolist()) == self.opening else 0
        closed = int(len(segment.ids) == segment.length and bool(ids_T[-1:] == self.closing))
        text_T = ids_T[opened : len(ids_T) - closed]
        turn, way, *cuts = fraction(np.arange(4, dtype=np.uint64), seed_of(seed, "middle")).tolist()
        if segment.learned is not None or len(text_T) < SHORTEST or turn >= self.rate:
            return segment
        text_T = text_T[:-3]
        first, second = sorted(int(cut * (len(text_T) + 1)) for cut in cuts)
        before_T, middle_T, after_T = text_T[:first], text_T[first:second], text_T[second:]
        if way < self.suffix_first:
            parts = [[self.prefix_id, self.suffix_id], after_T, [self.middle_id], before_T, middle_T]
        else:
            parts = [[self.prefix_id], before_T, [self.suffix_id], after_T, [self.middle_id], middle_T]
        whole = [ids_T[:opened], *parts, ids_T[len(ids_T) - closed :]]
        return Segment(np.concatenate([np.asarray(part, ids_T.dtype) for part in whole]), segment.length)


@dataclass(frozen=True, slots=True)
class MiddleRows(StageRows):
    """The rows of a stage, packed as for any model, with some of their documents rearranged.

    What becomes of a document is decided by the seed, its corpus, and its row's number in the corpus's endless stream.
    """

    middles: Middles
    seed: int

    def row(self, source: Source, number: int) -> list[Segment]:
        """The segments of a row of a corpus."""
        found = source.stream.row(number, self.seq_len)
        seed = seed_of(self.seed, "fill-in-middle", source.name, number)
        return [self.middles.rearranged(one, seed_of(seed, place)) for place, one in enumerate(found)]
