"""Does what a model wrote say the answer? Exact match and F1 after CKL's normalisation (Jang et al. 2022)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")


def normalised(text: str) -> str:
    """Lower case, without ASCII punctuation, then without a, an and the, blanks collapsed.

    What would leave nothing ("The The", "+") keeps its punctuation and articles: otherwise any other such text, and
    silence too, would be equal to it.
    """
    lowered = text.lower()
    kept = " ".join(_ARTICLES.sub(" ", lowered.translate(_NO_PUNCTUATION)).split())
    return kept or " ".join(lowered.split())


def endings(text: str, suffix: str = ".") -> list[str]:
    """The answers a generated text may be read as: its first line up to each place where a sentence may end, up to
    `suffix`, and whole.

    A full stop also stands inside answers ("St. Petersburg", "the U.S."), and where the sentence really ends is not
    known to the reader of a text; so every place is tried.
    """
    line = text.strip().split("\n", 1)[0]
    places = [match.start() for match in _SENTENCE_END.finditer(line)]
    wanted = suffix.strip()
    if wanted and wanted not in string.punctuation:
        places += [place for place in [line.find(wanted)] if place >= 0]
    return list(dict.fromkeys([*(line[:place] for place in sorted(places)), line]))


def is_exact(text: str, answers: Iterable[str], suffix: str = ".") -> bool:
    """Whether a generated text gives one of `answers`: equal after normalisation, at one of its endings."""
    wanted = {normalised(answer) for answer in answers}
    return any(normalised(given) in wanted for given in endings(text, suffix))


def f1(text: str, answers: Iterable[str], suffix: str = ".") -> float:
    """Harmonic mean of precision and recall of normalised words, the best over `answers` and endings; 0 to 1."""
    return max((_f1(given, answer) for answer in answers for given in endings(text, suffix)), default=0.0)


def _f1(given: str, answer: str) -> float:
    first, second = (Counter(normalised(text).split()) for text in (given, answer))
    common = (first & second).total()
    return 2 * common / (first.total() + second.total()) if common else 0.0
