"""By diversity: the entropy of a document's parts of speech (ETA, when no task is known)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import log2
from typing import Any, ClassVar, Literal

import numpy as np

from rewarm.selection import Column, Judged, Need, Scene, Selection
from rewarm.types import UserError

_TOKEN = re.compile(r"[^\W\d_][\w'’-]*|\w+|[^\w\s]")
_LETTER = re.compile(r"[^\W\d_]")
_SUFFIXES = ("ing", "tion", "sion", "ness", "ment", "ity", "able", "ible", "ous", "ive", "ful", "est", "ed", "ly", "al",
             "er", "ic", "s")  # fmt: skip
_PIECE = 20_000
"""Characters tagged at a time: the tagger's cost grows faster than a text."""


class Entropy(Selection):
    """Keeps varied text: documents whose parts of speech have a high entropy, in bits.

    ETA-DACP, arXiv 2311.08545; over tokens with at least one letter, 0 for a text without. `tagger: textblob` is the
    English tagger of TextBlob (Penn tags), which ships its lexicon and downloads nothing. `classes` needs no library
    and knows no language: a token's class is its case, whether it holds digits or inner punctuation, and its ending.
    That is coarser, so its numbers are not to be compared with a tagger's. `auto` is textblob where it is installed,
    otherwise classes; provenance and report say which.
    """

    paper: ClassVar[str] = "arXiv 2311.08545"
    cost: ClassVar[str] = "a tagger over the text, without a model"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})

    tagger: Literal["auto", "textblob", "classes"] = "auto"

    def used(self) -> str:
        """The tagger that `auto` stands for here; UserError for one that is not installed."""
        installed = find_spec("textblob") is not None
        if self.tagger == "textblob" and not installed:
            raise UserError(
                "entropy: tagger textblob is not installed. Install it with: pip install 'rewarm[tagger]', or set "
                "tagger: classes"
            )
        return ("textblob" if installed else "classes") if self.tagger == "auto" else self.tagger

    def measured(self) -> dict[str, Any]:
        """The tagger that is used, with its version."""
        used = self.used()
        return {"type": "entropy", "tagger": used, "version": _version() if used == "textblob" else 1}

    def note(self) -> str | None:
        """Which tagger was used."""
        if self.used() == "textblob":
            return f"entropy over the parts of speech of TextBlob {_version()} (English)"
        missing = "; TextBlob is not installed" if self.tagger == "auto" else ""
        return f"entropy over coarse classes of words (case, digits, punctuation, ending), no parts of speech{missing}"

    def measure(self, scene: Scene, learned: Any) -> Column:
        """Bits (D,)."""
        tag = _tagger(self.used())
        return np.array([bits(tags(text, tag)) for text in scene.texts], np.float64)

    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """The entropy."""
        return Judged.of(values[0])


def bits(counts: Counter[str]) -> float:
    """The entropy of some counts in bits; 0 for none."""
    total = counts.total()
    return sum(count / total * log2(total / count) for count in counts.values())


def tags(text: str, tag: Callable[[str], Sequence[tuple[str, str]]]) -> Counter[str]:
    """How often each tag occurs among the tokens that hold a letter."""
    found: Counter[str] = Counter()
    for piece in _pieces(text):
        found.update(name for token, name in tag(piece) if _LETTER.search(token))
    return found


def _pieces(text: str) -> Sequence[str]:
    """The text in pieces of at most `_PIECE` characters, cut at white space where there is some."""
    pieces, start = [], 0
    while start < len(text):
        end = min(len(text), start + _PIECE)
        if end < len(text):
            end = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end), start) or end
            end = end if end > start else start + _PIECE
        pieces.append(text[start:end])
        start = end
    return pieces


def coarse(text: str) -> list[tuple[str, str]]:
    """Tokens with their classes: case, digits, inner punctuation and ending."""
    return [(token, _class(token)) for token in _TOKEN.findall(text)]


@cache
def _class(token: str) -> str:
    if not _LETTER.search(token):
        return "number" if token[0].isdigit() else "punctuation"
    case = "lower" if token.islower() else "upper" if token.isupper() else "title" if token.istitle() else "mixed"
    digits = "+digit" if any(letter.isdigit() for letter in token) else ""
    inner = "+inner" if not token.isalnum() else ""
    lowered = token.lower()
    ending = next((suffix for suffix in _SUFFIXES if lowered.endswith(suffix) and len(lowered) > len(suffix) + 2), "")
    return f"{case}{digits}{inner}-{ending}"


@cache
def _tagger(name: str) -> Callable[[str], Sequence[tuple[str, str]]]:
    if name == "classes":
        return coarse
    from textblob.taggers import PatternTagger

    tag: Callable[[str], Sequence[tuple[str, str]]] = PatternTagger().tag
    return tag


@cache
def _version() -> str:
    try:
        return version("textblob")
    except PackageNotFoundError:
        return "unknown"
