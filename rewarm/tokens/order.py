"""Which documents are trained on and in which order; which are held out.

Both are functions of the documents' own hashes, so neither depends on the order of files or on a library's random
numbers. Shapes: D documents, N chosen documents, T positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.tokens.hashing import Words, fraction, seed_of, shuffled
from rewarm.tokens.shards import Store
from rewarm.types import UserError

_HOLDOUT_SEED = seed_of("rewarm held-out split")
_COPY_STEP = np.uint64(0x9E3779B97F4A7C15)
Indices = NDArray[np.int64]


def held_out(store: Store, share: float) -> NDArray[np.bool_]:
    """Which documents (D,) are held out: `share` of the groups, the same ones in every plan."""
    chosen: NDArray[np.bool_] = fraction(np.asarray(store.groups), _HOLDOUT_SEED) < share
    return chosen


def is_held_out(key: int, share: float) -> bool:
    """Whether one group is held out at that share, as `held_out` decides it."""
    return bool(fraction(np.array([key], np.uint64), _HOLDOUT_SEED)[0] < share)


def watch_documents(store: Store, chosen: NDArray[np.bool_], tokens: int) -> Indices:
    """The held-out documents to score: at least one, at most `tokens` in all, each text once, in a fixed order."""
    candidates = np.flatnonzero(chosen)
    _, first = np.unique(store.hashes[candidates], return_index=True)
    candidates = candidates[np.sort(first)]
    order = candidates[shuffled(np.asarray(store.hashes)[candidates], _HOLDOUT_SEED)]
    total = np.cumsum(store.lengths[order])
    return order[: max(1, int(np.searchsorted(total, tokens, side="right")))]


def training_documents(store: Store, chosen: NDArray[np.bool_], watched: NDArray[np.uint64]) -> tuple[Indices, int]:
    """Documents to train on, and how many more were left out because their text is watched in some corpus."""
    copies = np.isin(np.asarray(store.hashes), watched) & ~chosen
    return np.flatnonzero(~chosen & ~copies), int(copies.sum())


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens of one document inside a row: `ids` has one more token than `length` unless the document ends."""

    ids: NDArray[Any]
    length: int


def _apart(hashes: Words) -> Words:
    """A key of its own for each copy of a text: with one key, all copies would follow each other in every epoch."""
    by_hash = np.argsort(hashes, kind="stable")
    ordered = hashes[by_hash]
    places = np.arange(len(hashes), dtype=np.uint64)
    first_of_its_text = np.ones(len(hashes), bool)
    first_of_its_text[1:] = ordered[1:] != ordered[:-1]
    copy = places - np.maximum.accumulate(np.where(first_of_its_text, places, np.uint64(0)))
    keys = np.empty_like(hashes)
    keys[by_hash] = ordered + copy * _COPY_STEP
    return keys


class DocumentStream:
    """Documents of a store end to end, reshuffled each epoch; any position is found without reading what precedes."""

    def __init__(self, store: Store, documents: Indices, seed: int, name: str) -> None:
        self.store = store
        self.documents = documents
        self.seed = seed_of(seed, name)
        self.tokens = int(store.lengths[documents].sum())
        if self.tokens == 0:
            raise UserError(f"corpus '{name}' has no document left to train on: all are held out or watched elsewhere")
        self._keys = _apart(np.asarray(store.hashes)[documents])
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def _shuffle(self, epoch: int) -> tuple[Indices, Indices]:
        """Documents of an epoch in order (N,), and where each starts, with the end appended (N+1,)."""
        order = self.documents[shuffled(self._keys, seed_of(self.seed, epoch))]
        starts = np.zeros(len(order) + 1, np.int64)
        np.cumsum(self.store.lengths[order], out=starts[1:])
        return order, starts

    def row(self, index: int, length: int) -> list[Segment]:
        """Row `index` of the endless stream cut into rows of `length` tokens."""
        position = index * length
        remaining = length
        segments: list[Segment] = []
        while remaining:
            epoch, offset = divmod(position, self.tokens)
            order, starts = self._epoch(epoch)
            at = int(np.searchsorted(starts, offset, side="right")) - 1
            inside = offset - int(starts[at])
            take = min(remaining, int(starts[at + 1]) - offset)
            segments.append(Segment(self.store.ids(int(order[at]), inside, inside + take + 1), take))
            position += take
            remaining -= take
        return segments
