"""Two versions of one article -> what a model has to learn, and what no longer stands there.

TemporalWiki (arXiv 2204.14211, section 3.1) trains on new articles, new paragraphs and changed sentences. A sentence
is new when it occurs nowhere in the old article, so what was moved is not new, what a rewritten article keeps is not
repeated, and every sentence of the new version stands in the old one or in the difference.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

from rewarm.difference.matching import Gap, gaps
from rewarm.difference.sentences import Paragraphs, key, paragraphs, sentences

Kind = Literal["new_article", "new_paragraph", "changed_sentence"]
Context = Literal["sentence", "paragraph"]
CONTEXTS: tuple[Context, ...] = get_args(Context)
"""What is trained on around a changed sentence: nothing but the title, or the paragraph that it stands in."""

_WORD = re.compile(r"\w+")
_ALIKE = 0.5
_PAIRS = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Something new: a paragraph, or the changed sentences of one.

    `paragraph` is the whole paragraph as it now stands; `old` is what stood in its place and is gone, "" if nothing.
    """

    kind: Kind
    text: str
    paragraph: str
    old: str


@dataclass(slots=True)
class Change:
    """What became of an article, in the order of its new version; `deleted` is in the order of the old one."""

    pieces: list[Piece] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def text(self, context: Context) -> str:
        """What to train on, a paragraph a line; "" where nothing is new."""
        return "\n".join(piece.text if context == "sentence" else piece.paragraph for piece in self.pieces)


class _Version:
    """One version of an article, cut."""

    def __init__(self, text: str, kind: Paragraphs) -> None:
        self.paragraphs = paragraphs(text, kind)
        self.keys = [key(paragraph) for paragraph in self.paragraphs]
        self.sentences = [sentences(paragraph) for paragraph in self.paragraphs]
        self.sentence_keys = [[key(sentence) for sentence in part] for part in self.sentences]
        self.known = {sentence for part in self.sentence_keys for sentence in part}
        self._words: dict[int, set[str]] = {}

    def words(self, number: int) -> set[str]:
        """The different words of a paragraph."""
        if number not in self._words:
            self._words[number] = set(_WORD.findall(self.keys[number].lower()))
        return self._words[number]


def compare(old_text: str, new_text: str, kind: Paragraphs = "lines") -> Change:
    """What the new version of an article says that the old one does not, and the other way round.

    Sentences are compared by their words, case, digits and punctuation; white space does not count. `counts` holds
    `new_paragraph` and `changed_paragraph` (paragraphs), `new_sentence`, `same_sentence` and `deleted_sentence`.
    """
    old, new = _Version(old_text, kind), _Version(new_text, kind)
    change = Change()
    places = _places(old, new)
    for number, names in enumerate(new.sentence_keys):
        fresh = [name not in old.known for name in names]
        change.counts["new_sentence"] += sum(fresh)
        change.counts["same_sentence"] += len(fresh) - sum(fresh)
        if not all(fresh):
            kept = _picked(new.sentences[number], [not one for one in fresh])
            change.unchanged.append(kept)
        if any(fresh):
            change.pieces.append(_piece(old, new, number, fresh, places.get(number)))
            change.counts["new_paragraph" if change.pieces[-1].kind == "new_paragraph" else "changed_paragraph"] += 1
    for part, names in zip(old.sentences, old.sentence_keys, strict=True):
        change.deleted += [one.strip() for one, name in zip(part, names, strict=True) if name not in new.known]
    change.counts["deleted_sentence"] = len(change.deleted)
    return change


def _picked(part: list[str], wanted: list[bool]) -> str:
    return "".join(one for one, take in zip(part, wanted, strict=True) if take).rstrip()


def _places(old: _Version, new: _Version) -> dict[int, Gap]:
    """The gap that each paragraph of the new version stands in, where it stands in one."""
    found = gaps(old.keys, new.keys)
    return {number: gap for gap in found for number in range(gap.new_start, gap.new_end)}


def _piece(old: _Version, new: _Version, number: int, fresh: list[bool], gap: Gap | None) -> Piece:
    before = None if gap is None else _before(old, new, number, gap)
    kind: Kind = "new_paragraph" if all(fresh) and before is None else "changed_sentence"
    gone = ""
    if before is not None:
        gone = _picked(old.sentences[before], [name not in new.known for name in old.sentence_keys[before]])
    return Piece(kind, _picked(new.sentences[number], fresh), new.paragraphs[number], gone.strip())


def _before(old: _Version, new: _Version, number: int, gap: Gap) -> int | None:
    """The old paragraph in the same gap that a new one was made from, None where none is alike.

    Alike are two that have half of their different words in common (Dice). In a gap too large to try every pair, only
    the paragraph at the same distance from the start of the gap is looked at.
    """
    place = gap.old_start + number - gap.new_start
    candidates = range(gap.old_start, gap.old_end)
    if len(candidates) * (gap.new_end - gap.new_start) > _PAIRS:
        candidates = range(place, min(place + 1, gap.old_end))
    words = new.words(number)
    best, best_share = None, _ALIKE
    for candidate in candidates:
        other = old.words(candidate)
        share = 2 * len(words & other) / max(1, len(words) + len(other))
        is_gone = not new.known.issuperset(old.sentence_keys[candidate])
        if is_gone and (share > best_share or (best is None and share == best_share)):
            best, best_share = candidate, share
    return best
