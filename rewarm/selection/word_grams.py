"""Texts as hashed words and runs of words, the same on every machine and in every version of this package's libraries.

A word is a run of letters and digits, folded in case and in compatible forms; punctuation and space separate words and
are no part of them. In scripts that do not separate words (Chinese, Japanese, Hangul) every character is a word.

Shapes: G texts, N words of all texts end to end, W runs of words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import text_hash

Hashes = NDArray[np.uint64]
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)


def composed(text: str) -> str:
    """The text with accents joined to their letters: otherwise they would split words."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def words(text: str) -> list[str]:
    """The words of a text as they are written in it."""
    return _WORD.findall(composed(text))


def word_places(text: str) -> list[tuple[int, int]]:
    """Where each word of a `composed` text begins and ends."""
    return [match.span() for match in _WORD.finditer(text)]


class Worded(NamedTuple):
    """Texts as 64 bits for each of their words (N,), end to end, and how many words each text has (G,)."""

    words_N: Hashes
    counts_G: NDArray[np.int64]


def worded(texts: Sequence[str]) -> Worded:
    """The words of some texts."""
    written = [words(text) for text in texts]
    counts_G = np.array([len(some) for some in written], np.int64)
    flat = list(chain.from_iterable(written))
    different = list(dict.fromkeys(flat))
    hashes = np.fromiter(map(_hash, different), np.uint64, len(different))
    number = dict(zip(different, range(len(different)), strict=True))
    return Worded(hashes[np.fromiter(map(number.__getitem__, flat), np.int64, len(flat))], counts_G)


def _hash(word: str) -> int:
    folded = word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()
    return text_hash(folded)


def run_hashes(words_N: Hashes, sizes: Sequence[int]) -> Iterator[tuple[int, Hashes]]:
    """For each of some ascending sizes n: n, and 64 bits for the n words from each place on (N - n + 1,).

    Runs that go on into the next text are among them: `starts` says which do not.
    """
    run_W = words_N
    size = 1
    for wanted in sizes:
        while size < wanted and len(run_W):
            run_W = run_W[:-1] * _BASE + words_N[size:]
            size += 1
        if len(words_N) < wanted:
            return
        # Sums of products keep their low bits low: mixed, so that any bits of a run may be used.
        mixed_W = (run_W ^ (run_W >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9 + 2 * wanted)
        yield wanted, mixed_W ^ (mixed_W >> np.uint64(29))


def starts(counts_G: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places from which `size` words of one text stand (W,), and the text of each (W,)."""
    runs_G = np.maximum(counts_G - size + 1, 0)
    owner_W = np.repeat(np.arange(len(counts_G)), runs_G)
    first_G = np.cumsum(counts_G) - counts_G
    inside_W = np.arange(len(owner_W)) - np.repeat(np.cumsum(runs_G) - runs_G, runs_G)
    return first_G[owner_W] + inside_W, owner_W


def gram_sets(texts: Worded, size: int) -> tuple[Hashes, NDArray[np.int64]]:
    """The different runs of `size` words of each text, ascending, end to end, and how many each text has (G,).

    A text with fewer words has one: all of them. A text without a word has none.
    """
    words_N, counts_G = texts
    first_G = np.cumsum(counts_G) - counts_G
    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for length, run_W in run_hashes(words_N, range(1, size + 1)):
        owner_W = np.flatnonzero(counts_G == length)
        place_W = first_G[owner_W]
        if length == size:
            place_W, owner_W = starts(counts_G, size)
        hashes.append(run_W[place_W])
        owners.append(owner_W)
    return _distinct(np.concatenate(hashes), np.concatenate(owners), len(counts_G))


def _distinct(run_W: Hashes, owner_W: NDArray[np.int64], count: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Each run of each text once, ascending, and how many each text has."""
    order = np.lexsort((run_W, owner_W))
    run_W, owner_W = run_W[order], owner_W[order]
    is_first = np.ones(len(run_W), bool)
    is_first[1:] = (run_W[1:] != run_W[:-1]) | (owner_W[1:] != owner_W[:-1])
    return run_W[is_first], np.bincount(owner_W[is_first], minlength=count)
