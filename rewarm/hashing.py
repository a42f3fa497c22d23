"""Hashes that never change with a library's version: text -> 64 bits, and a seeded shuffle of 64-bit keys.

Orders, draws and held-out splits are functions of these alone, so a run resumed years later reads the same rows.
What is done to every document of a corpus is done in chunks: whole-corpus temporaries are what takes memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
CHUNK = 1 << 16
"""Words handled at a time: half a megabyte, which stays in a core's own cache."""
Indices = NDArray[np.signedinteger[Any]]
"""Numbers of documents, 4 bytes each where they fit."""


def text_hash(text: str) -> int:
    """64 bits of BLAKE2b of the UTF-8 text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def text_hashes(texts: Sequence[str]) -> tuple[Words, NDArray[np.int64]]:
    """`text_hash` of each text (D,), and each text's size in UTF-8 bytes (D,)."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    digests = b"".join([hashlib.blake2b(data, digest_size=8).digest() for data in encoded])
    return np.frombuffer(digests, "<u8").astype(np.uint64, copy=False), np.array(
        [len(data) for data in encoded], np.int64
    )


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices that cover `count` places, `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def index_dtype(count: int) -> np.dtype[Any]:
    """The smallest signed type that numbers `count` things."""
    return np.dtype(np.int32 if count <= 2**31 else np.int64)


def seed_of(*parts: int | str) -> int:
    """64 bits from any mixture of numbers and words, to seed one particular draw."""
    return text_hash("\x1f".join(map(str, parts)))


def scrambled(values: Words, seed: int) -> Words:
    """SplitMix64 of each value under a seed: a bijection of 64-bit words that looks random."""
    mixed = values + np.uint64((seed * _GOLDEN + _GOLDEN) & _MASK)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Words = mixed ^ (mixed >> np.uint64(31))
    return result


def shuffled(keys: Words, seed: int) -> NDArray[np.int64]:
    """Indices of `keys` in an order that depends on the keys and the seed only (ties keep their order)."""
    return np.argsort(scrambled(keys, seed), kind="stable")


def shuffled_lean(keys: Callable[[NDArray[np.int64]], Words], numbers: Indices, seed: int) -> Indices:
    """`numbers[shuffled(keys, seed)]` for `numbers` (N,) that ascend, with 8 bytes of memory for each of them.

    `keys` gives the keys at some places, which ascend. A word holds the upper bits of a scrambled key and, below
    them, the number; so one sort in place is the whole shuffle, but for the few keys whose upper bits agree, which
    are then put in the order of all their bits.
    """
    low = np.uint64((1 << max(1, int(numbers[-1]).bit_length())) - 1)
    words = np.empty(len(numbers), np.uint64)
    for part in chunks(len(words)):
        places = np.arange(part.start, part.stop)
        words[part] = (scrambled(keys(places), seed) & ~low) | numbers[part].astype(np.uint64)
    words.sort()
    tied = np.concatenate([
        part.start + np.flatnonzero(words[part] ^ words[part.start + 1 : part.stop + 1] <= low)
        for part in chunks(len(words) - 1)
    ] or [np.zeros(0, np.int64)])  # fmt: skip
    if len(tied):
        tied = np.union1d(tied, tied + 1)
        members = np.sort((words[tied] & low).astype(numbers.dtype))
        order = shuffled(keys(np.searchsorted(numbers, members)), seed)
        words[tied] = members[order].astype(np.uint64)
    return _narrowed(words, low, numbers.dtype)


def _narrowed(words: Words, low: np.uint64, dtype: np.dtype[Any]) -> Indices:
    """The lower bits of `words` as indices, made in the memory of `words`, of which the rest is given back."""
    count = len(words)
    narrow = words.view(dtype)
    for part in chunks(count):
        narrow[part] = words[part] & low
    del narrow
    words.resize(-(-count * dtype.itemsize // 8), refcheck=False)
    return words.view(dtype)[:count]


def fraction(keys: Words, seed: int) -> NDArray[np.float64]:
    """Each key's place in [0, 1) under a seed."""
    place: NDArray[np.float64] = (scrambled(keys, seed) >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    return place
