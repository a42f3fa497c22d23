"""Which languages a text is in, and how alike two texts are: detected lines and distributions of character trigrams.

Lines are detected one by one by py3langid (the extra `languages`; its model comes with it, so nothing is downloaded).
It always names a language, so short lines are not asked about, and what it says of close relatives (Danish and
Norwegian above all) is to be read with their similarity beside it.

Shapes: H buckets of trigrams, T characters.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import scrambled, seed_of
from rewarm.types import UserError

LINES = 2_000
"""Lines of a corpus that are detected, at most: a share is then known to about two points (95 %)."""
LINE_CHARACTERS = 20
"""Shorter lines are not detected: names, numbers and headings have no language."""
READ_CHARACTERS = 400
"""Read of one line at most; lines may be whole documents."""
BUCKETS = 1 << 18
Detect = Callable[[str], str]


@dataclass(slots=True)
class Profile:
    """What was read of a corpus.

    `languages` counts detected lines by ISO 639-1 code; `lines` of the text were long enough to be, `short` were not.
    `trigrams_H` counts runs of three characters, lower case, each stretch of white space as one space.
    """

    languages: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    short: int = 0
    characters: int = 0
    trigrams_H: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))

    def share(self, language: str) -> float | None:
        """The share of detected lines that are in a language; None where no line was detected."""
        return self.languages[language] / total if (total := self.languages.total()) else None

    def main(self) -> str | None:
        """The language of most lines, the first by name of several."""
        most = max(self.languages.values(), default=0)
        return min((name for name, count in self.languages.items() if count == most), default=None)

    def __add__(self, other: Profile) -> Profile:
        """Both read as one text."""
        return Profile(
            self.languages + other.languages,
            self.lines + other.lines,
            self.short + other.short,
            self.characters + other.characters,
            self.trigrams_H + other.trigrams_H,
        )


def check_detector() -> None:
    """UserError, with the remedy, where the library that detects languages is not installed."""
    if find_spec("py3langid") is None:
        raise UserError(
            "languages: the library that detects them is not installed. Install it with: pip install "
            "'rewarm[languages]', or leave languages out"
        )


def detector() -> Detect:
    """What gives the ISO 639-1 code of a line; UserError where it is not installed."""
    check_detector()
    from py3langid import langid

    def detect(line: str) -> str:
        return str(langid.classify(line)[0])

    return detect


def detector_name() -> str:
    """The library with its version."""
    from importlib.metadata import version

    return f"py3langid {version('py3langid')}"


def profile(texts: Iterable[str], detect: Detect, lines: int = LINES, seed: int = 0) -> Profile:
    """The languages of at most `lines` lines and the trigrams of all text, in memory that does not grow with it.

    The lines are those whose hashes under the seed are lowest, whatever their order; a line that is repeated is
    detected as often as the others, once.
    """
    if lines < 1:
        raise UserError(f"lines {lines}: give 1 or more lines to detect; {LINES} is usual")
    found, chosen, held = Profile(), list[tuple[int, str]](), set[str]()
    for text in texts:
        found.trigrams_H += trigrams(text)
        found.characters += len(text)
        for line in (one.strip() for one in text.splitlines()):
            if len(line) < LINE_CHARACTERS:
                found.short += bool(line)
                continue
            found.lines += 1
            _offer(chosen, held, line[:READ_CHARACTERS], lines, seed)
    found.languages.update(detect(line) for _, line in sorted(chosen))
    return found


def _offer(chosen: list[tuple[int, str]], held: set[str], line: str, most: int, seed: int) -> None:
    """Keeps the lines of the lowest hashes in a heap, whose top is the highest of them."""
    key = -seed_of(seed, line)
    if line in held or (len(chosen) >= most and key <= chosen[0][0]):
        return
    held.add(line)
    if len(chosen) < most:
        heapq.heappush(chosen, (key, line))
    else:
        held.discard(heapq.heapreplace(chosen, (key, line))[1])


def trigrams(text: str) -> NDArray[np.int64]:
    """How often each run of three characters occurs, by bucket (H,)."""
    plain = " ".join(text.casefold().split())
    codes_T = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if len(codes_T) < 3:
        return np.zeros(BUCKETS, np.int64)
    joined_T = codes_T[:-2] | (codes_T[1:-1] << np.uint64(21)) | (codes_T[2:] << np.uint64(42))
    buckets_T = (scrambled(joined_T, 0) % np.uint64(BUCKETS)).astype(np.int64)
    return np.bincount(buckets_T, minlength=BUCKETS)


def distance(first: Profile, second: Profile) -> float | None:
    """Jensen-Shannon distance of two distributions of trigrams: 0 for the same, 1 for two that share nothing.

    The root of the mean, over both, of their Kullback-Leibler divergence in bits from their mean. None without text.
    """
    totals = int(first.trigrams_H.sum()), int(second.trigrams_H.sum())
    if not all(totals):
        return None
    p_H, q_H = first.trigrams_H / totals[0], second.trigrams_H / totals[1]
    middle_H = (p_H + q_H) / 2
    bits = (_divergence(p_H, middle_H) + _divergence(q_H, middle_H)) / 2
    return float(np.sqrt(min(1.0, max(0.0, bits))))


def _divergence(p_H: NDArray[np.float64], middle_H: NDArray[np.float64]) -> float:
    there = p_H > 0
    return float((p_H[there] * np.log2(p_H[there] / middle_H[there])).sum())
