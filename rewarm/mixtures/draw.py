"""The draw: which corpus gives each row of a stage, a pure function of the plan and the seed.

Every step takes a whole number of rows per corpus such that no corpus is ever more than one row away from its
planned share (while shares do not jump), so the realised share of tokens is the planned one at any length; rows all
have the same length.
Shapes: S steps, R rows per step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rewarm.mixtures import Mixture
from rewarm.tokens.hashing import scrambled, seed_of


def draw(mixture: Mixture, weights: Mapping[str, float], steps: int, rows: int, seed: int) -> NDArray[np.uint8]:
    """Source numbers (S, R), numbered in the order of `weights`."""
    names = list(weights)
    if len(names) > 255:
        raise ValueError(f"a stage mixes at most 255 corpora, got {len(names)}")
    owed = [0.0] * len(names)
    drawn = np.empty((steps, rows), np.uint8)
    for step in range(steps):
        shares = mixture.shares(step / steps, weights)
        for index, name in enumerate(names):
            owed[index] += shares[name] * rows
        counts = _whole(owed, rows)
        for index, count in enumerate(counts):
            owed[index] -= count
        drawn[step] = np.repeat(np.arange(len(names), dtype=np.uint8), counts)
    places = np.arange(steps * rows, dtype=np.uint64).reshape(steps, rows)
    order = np.argsort(scrambled(places, seed_of(seed, "draw")), axis=1, kind="stable")
    return np.take_along_axis(drawn, order, axis=1)


def _whole(owed: list[float], rows: int) -> list[int]:
    """Whole counts that sum to `rows`: the floor of what each is owed, then one more to those owed most."""
    counts = [max(0, int(amount + 1e-9)) for amount in owed]
    by_rest = sorted(range(len(owed)), key=lambda index: (counts[index] - owed[index], index))
    for index in by_rest[: max(0, rows - sum(counts))]:
        counts[index] += 1
    while sum(counts) > rows:
        most = max(range(len(owed)), key=lambda index: counts[index] - owed[index])
        counts[most] -= 1
    return counts
