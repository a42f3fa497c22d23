"""Text that shares a run of words with what a model is scored on: a model that has trained on it has seen the answers.

Runs of 13 words (the size of Brown et al., arXiv 2005.14165, app. C) of watched text and of probes are looked for,
whatever case and punctuation they are written in. An item with fewer words is looked for whole, down to `SHORTEST`
words: what is shorter stands in innocent text everywhere, and is counted as not looked for.

Shapes: G texts, W runs of words, K known runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rewarm.selection.word_grams import Hashes, Worded, composed, run_hashes, starts, word_places, worded
from rewarm.types import UserError

SIZE = 13
SHORTEST = 5
"""Words of the shortest item that is looked for."""
_BITS = 20
_SENTENCE_ENDS = ".!?\n\u3002\uff01\uff1f"


@dataclass(slots=True)
class _Runs:
    """Known runs of one length: 64 bits each, ascending (K,), and the set each was first seen in (K,)."""

    hashes_K: Hashes
    sets_K: NDArray[np.uint8]
    maybe: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.hashes_K, first_K = np.unique(self.hashes_K, return_index=True)
        self.sets_K = self.sets_K[first_K]
        # A table of the upper bits rules out nearly every run, where a binary search would miss the cache.
        self.maybe = np.zeros(1 << _BITS, bool)
        self.maybe[self.hashes_K >> np.uint64(64 - _BITS)] = True

    def find(self, run_W: Hashes) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Places (of W) of runs that are known, and the set of each."""
        places = np.flatnonzero(self.maybe[run_W >> np.uint64(64 - _BITS)])
        at = np.minimum(np.searchsorted(self.hashes_K, run_W[places]), len(self.hashes_K) - 1)
        same = self.hashes_K[at] == run_W[places]
        return places[same], self.sets_K[at[same]]


class Overlaps:
    """Runs of words of some sets of items, to be looked for in texts. `sizes` words; `names` are those of the sets."""

    def __init__(self, size: int = SIZE) -> None:
        if not SHORTEST <= size <= 100:
            raise UserError(f"runs of {size} words: give {SHORTEST} to 100. 13 is usual; fewer find innocent text")
        self.size = size
        self.names: list[str] = []
        self.items: list[int] = []
        self.too_short: list[int] = []
        self._found: dict[int, list[tuple[Hashes, int]]] = {}
        self._runs: dict[int, _Runs] | None = None

    def add(self, name: str, items: Worded) -> None:
        """Takes in items of a set, which may have some already. A run of several sets counts as that of the first."""
        if name not in self.names:
            self.names.append(name)
            self.items.append(0)
            self.too_short.append(0)
        number = self.names.index(name)
        self._runs = None
        words_N, counts_G = items
        first_G = np.cumsum(counts_G) - counts_G
        self.items[number] += len(counts_G)
        self.too_short[number] += int((counts_G < SHORTEST).sum())
        for length, run_W in run_hashes(words_N, range(SHORTEST, self.size + 1)):
            places = first_G[counts_G == length]
            if length == self.size:
                places, _ = starts(counts_G, length)
            if len(places):
                self._found.setdefault(length, []).append((np.unique(run_W[places]), number))

    def _known(self) -> dict[int, _Runs]:
        if self._runs is None:
            self._runs = {}
            for length, parts in sorted(self._found.items()):
                hashes_K = np.concatenate([hashes for hashes, _ in parts])
                sets_K = np.repeat(np.array([number for _, number in parts], np.uint8), [len(one) for one, _ in parts])
                self._runs[length] = _Runs(hashes_K, sets_K)
        return self._runs

    def find(self, texts: Worded) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each text (G,): the place in `names` of the first set it shares a run with, or -1; and how many words of
        the text stand in shared runs."""
        words_N, counts_G = texts
        set_G = np.full(len(counts_G), len(self.names))
        is_shared_N = np.zeros(len(words_N), bool)
        known = self._known()
        for length, run_W in run_hashes(words_N, list(known)):
            place_W, owner_W = starts(counts_G, length)
            found, sets = known[length].find(run_W[place_W])
            np.minimum.at(set_G, owner_W[found], sets)
            for offset in range(length):
                is_shared_N[place_W[found] + offset] = True
        ends_G = np.cumsum(counts_G)
        shared = np.concatenate([[0], np.cumsum(is_shared_N)])
        return np.where(set_G < len(self.names), set_G, -1), shared[ends_G] - shared[ends_G - counts_G]

    def cut(self, text: str) -> str:
        """The text without the sentences in which a shared run stands, or a part of one; a line is a sentence, too."""
        text = composed(text)
        words_N, counts_G = worded([text])
        places = word_places(text)
        spans: list[tuple[int, int]] = []
        known = self._known()
        for length, run_W in run_hashes(words_N, list(known)):
            found, _ = known[length].find(run_W[starts(counts_G, length)[0]])
            spans += [(places[first][0], places[first + length - 1][1]) for first in found.tolist()]
        kept, at = [], 0
        for start, end in sorted(spans):
            first = 1 + max(text.rfind(sign, 0, start) for sign in _SENTENCE_ENDS)
            after = [place for sign in _SENTENCE_ENDS if (place := text.find(sign, end)) >= 0]
            kept.append(text[at : max(at, first)])
            at = max(at, 1 + min(after) if after else len(text))
        return "".join([*kept, text[at:]]).strip()
