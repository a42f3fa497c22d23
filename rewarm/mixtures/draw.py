"""The draw: which corpus gives each row of a stage, a pure function of the plan and the seed.

Every step takes a whole number of rows per corpus, given to those that are owed most. While shares do not jump, no
corpus is ever more than one row ahead of its planned share, and hardly more than one behind (1/2 + 1/3 + ... + 1/C at
most, in all that was tried), so the realised share of tokens is the planned one at any length; rows all have the same
length.
Shapes: S steps, R rows per step, C corpora.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import CHUNK, chunks, scrambled, seed_of
from rewarm.mixtures import Mixture

_LONGEST_PATTERN = 1024
_LONGEST_GUESS = 1 << 14
_BY_HAND = 16
_MOST_BY_HAND = 1024
"""Steps counted one by one after a guess that hardly held, twice as many each time: bad guesses must cost little."""


def draw(mixture: Mixture, weights: Mapping[str, float], steps: int, rows: int, seed: int) -> NDArray[np.uint8]:
    """Source numbers (S, R), numbered in the order of `weights`."""
    if len(weights) > 255:
        raise ValueError(f"a stage mixes at most 255 corpora, got {len(weights)}")
    counts_SC = _counts(mixture, weights, steps, rows)
    names = np.arange(len(weights), dtype=np.uint8)
    drawn = np.empty((steps, rows), np.uint8)
    for part in chunks(steps, max(1, CHUNK // rows)):
        counts = counts_SC[part]
        sources = np.repeat(np.tile(names, len(counts)), counts.reshape(-1)).reshape(-1, rows)
        places = np.arange(part.start * rows, part.stop * rows, dtype=np.uint64).reshape(-1, rows)
        drawn[part] = _in_order_of(scrambled(places, seed_of(seed, "draw")), sources)
    return drawn


def _in_order_of(keys: NDArray[np.uint64], sources: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row's sources in the order of the row's keys, all of which differ.

    Keys that carry the source in their lowest byte are sorted twenty times as fast as indices by their keys, and give
    the same order unless two keys of a row differ in that byte only.
    """
    words = np.sort((keys & ~np.uint64(255)) | sources, axis=1)
    if (words[:, 1:] >> np.uint64(8) == words[:, :-1] >> np.uint64(8)).any():
        return np.take_along_axis(sources, np.argsort(keys, axis=1, kind="stable"), axis=1)
    return words.astype(np.uint8)


def _counts(mixture: Mixture, weights: Mapping[str, float], steps: int, rows: int) -> NDArray[np.int32]:
    """Rows of each corpus in each step (S, C): step by step what each is owed, less what it was given."""
    counts_SC = np.empty((steps, len(weights)), np.int32)
    owed = [0.0] * len(weights)
    step, pattern, guessed, by_hand = 0, 0, 1, _BY_HAND
    while step < steps:
        shares = mixture.shares(step / steps, weights)
        gains = [shares[name] * rows for name in weights]
        if mixture.constant and step >= 2 * _LONGEST_PATTERN:
            pattern = pattern or _pattern(gains)
            block = counts_SC[step : step + guessed]
            right, owed = _repeat(counts_SC[step - pattern : step], block, owed, gains, rows)
            step += right
            guessed = min(2 * guessed, _LONGEST_GUESS) if right == len(block) else max(64, 2 * right)
            by_hand = _BY_HAND if right >= _BY_HAND else min(2 * by_hand, _MOST_BY_HAND)
            if right >= _BY_HAND:
                continue
        for _ in range(min(by_hand if mixture.constant else 1, steps - step)):
            owed = [amount + gain for amount, gain in zip(owed, gains, strict=True)]
            counts = _whole(owed, rows)
            owed = [amount - count for amount, count in zip(owed, counts, strict=True)]
            counts_SC[step] = counts
            step += 1
    return counts_SC


def _pattern(gains: list[float]) -> int:
    """The number of steps after which every corpus has gained whole rows, or so nearly as no other number does."""
    gained = np.outer(np.arange(1, _LONGEST_PATTERN + 1), gains)
    return int(np.argmin(np.round(np.abs(gained - np.round(gained)).max(axis=1), 9))) + 1


def _repeat(
    pattern: NDArray[np.int32], block: NDArray[np.int32], owed: list[float], gains: list[float], rows: int
) -> tuple[int, list[float]]:
    """Fills `block` with `pattern` again and again; returns how many steps of it are right, and what is owed then.

    The amounts owed are added up one after the other in the order of the steps, as they would be step by step, so
    they agree with those to the last bit for as long as the counts do.
    """
    block[:] = np.resize(pattern, block.shape)
    moves = np.empty((2 * len(block) + 1, len(gains)))
    moves[0], moves[1::2], moves[2::2] = owed, gains, -block
    amounts = np.add.accumulate(moves, axis=0)
    before = amounts[1::2]
    counts = np.maximum(0, (before + 1e-9).astype(np.int32))
    missing = rows - counts.sum(axis=1)
    by_rest = np.argsort(counts - before, axis=1, kind="stable")
    one_more = np.arange(len(gains)) < missing[:, None]
    np.put_along_axis(counts, by_rest, np.take_along_axis(counts, by_rest, axis=1) + one_more, axis=1)
    wrong = (counts != block).any(axis=1) | (missing < 0)
    right = int(np.argmax(wrong)) if wrong.any() else len(block)
    return right, amounts[2 * right].tolist()


def _whole(owed: list[float], rows: int) -> list[int]:
    """Whole counts that sum to `rows`: the floor of what each is owed, then one more to those owed most."""
    counts = [max(0, int(amount + 1e-9)) for amount in owed]
    by_rest = sorted(range(len(owed)), key=lambda index: (counts[index] - owed[index], index))
    for index in by_rest[: max(0, rows - sum(counts))]:
        counts[index] += 1
    while sum(counts) > rows:
        given = (index for index, count in enumerate(counts) if count)
        most = max(given, key=lambda index: counts[index] - owed[index])
        counts[most] -= 1
    return counts
