"""Hashes that never change with a library's version: text -> 64 bits, and a seeded shuffle of 64-bit keys.

Orders, draws and held-out splits are functions of these alone, so a run resumed years later reads the same rows.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def text_hash(text: str) -> int:
    """64 bits of BLAKE2b of the UTF-8 text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


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


def fraction(keys: Words, seed: int) -> NDArray[np.float64]:
    """Each key's place in [0, 1) under a seed."""
    place: NDArray[np.float64] = (scrambled(keys, seed) >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    return place
