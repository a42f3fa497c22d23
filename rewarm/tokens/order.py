"""Which documents are trained on and in which order; which are held out.

Both are functions of the documents' own hashes, so neither depends on the order of files or on a library's random
numbers. Shapes: D documents, N chosen documents, T positions.

A corpus of 10 million documents must fit beside a model: what is kept for each training document is its number and its
place in the epoch, 8 bytes in all, and twice that while an epoch is shuffled; hashes and lengths stay on disk.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import Indices as Indices
from rewarm.hashing import Words, chunks, fraction, index_dtype, seed_of, shuffled, shuffled_lean
from rewarm.tokens.shards import Store
from rewarm.types import UserError

_HOLDOUT_SEED = seed_of("rewarm held-out split")
_PART_SEED = seed_of("rewarm parts of the held-out documents")
_COPY_STEP = np.uint64(0x9E3779B97F4A7C15)
_STRIDE = 64
_WATCHED_BITS = 22
_MIXED_ROWS = 1 << 16
"""Rows that change places among each other: of 2,048 tokens each, 134 million tokens."""


def held_out(store: Store, share: float) -> NDArray[np.bool_]:
    """Which documents (D,) are held out: `share` of the groups, the same ones in every plan."""
    chosen = np.empty(len(store.groups), bool)
    for part in chunks(len(chosen)):
        chosen[part] = fraction(store.groups[part], _HOLDOUT_SEED) < share
    return chosen


def is_held_out(key: int, share: float) -> bool:
    """Whether one group is held out at that share, as `held_out` decides it."""
    return bool(fraction(np.array([key], np.uint64), _HOLDOUT_SEED)[0] < share)


def held_out_part(store: Store, chosen: NDArray[np.bool_], part: str) -> NDArray[np.bool_]:
    """The held-out documents (D,) of one part: `all`, or half the groups (`pilot`), or the other half (`final`).

    A text that stands in both halves is in `pilot` alone.
    """
    if part == "all":
        return chosen
    places = np.flatnonzero(chosen)
    first = fraction(store.groups[places], _PART_SEED) < 0.5
    first |= np.isin(store.hashes[places], store.hashes[places[first]])
    found = np.zeros(len(chosen), bool)
    found[places[first if part == "pilot" else ~first]] = True
    return found


def numbers(chosen: NDArray[np.bool_]) -> Indices:
    """The chosen documents' numbers (N,), ascending, of 4 bytes where they fit."""
    found = np.empty(np.count_nonzero(chosen), index_dtype(len(chosen)))
    at = 0
    for part in chunks(len(chosen)):
        here = part.start + np.flatnonzero(chosen[part])
        found[at : at + len(here)] = here
        at += len(here)
    return found


def watch_documents(store: Store, chosen: NDArray[np.bool_], tokens: int) -> Indices:
    """The held-out documents to score: at least one, at most `tokens` in all, each text once, in a fixed order."""
    candidates = numbers(chosen)
    _, first = np.unique(store.hashes[candidates], return_index=True)
    candidates = candidates[np.sort(first)]
    order = candidates[shuffled(store.hashes[candidates], _HOLDOUT_SEED)]
    total = np.cumsum(store.lengths_of(order))
    return order[: max(1, int(np.searchsorted(total, tokens, side="right")))]


def training_documents(store: Store, chosen: NDArray[np.bool_], watched: NDArray[np.uint64]) -> tuple[Indices, int]:
    """Documents to train on, and how many more were left out because their text is watched in some corpus."""
    watched = np.sort(watched)
    # A table of the hashes' upper bits rules out nearly every document, where a binary search would miss the cache.
    shift = np.uint64(64 - _WATCHED_BITS)
    suspect = np.zeros(1 << _WATCHED_BITS, bool)
    suspect[watched >> shift] = True
    left = ~chosen
    for part in chunks(len(left)):
        hashes = store.hashes[part]
        maybe = np.flatnonzero(suspect[hashes >> shift])
        at = np.searchsorted(watched, hashes[maybe])
        left[part.start + maybe[watched[np.minimum(at, len(watched) - 1)] == hashes[maybe]]] = False
    documents = numbers(left)
    return documents, len(left) - int(np.count_nonzero(chosen)) - len(documents)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens of one document inside a row: `ids` has one more token than `length` unless the document ends.

    `learned` says which of the ids are targets; None: all of them.
    """

    ids: NDArray[Any]
    length: int
    learned: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, store: Store, document: int, start: int, length: int) -> Segment:
        """So many tokens of a document of a store, from token `start` on."""
        part = (document, start, start + length + 1)
        return cls(store.ids(*part), length, store.learned(*part))


def _apart(hashes: Words) -> Words:
    """What to add to the key of each copy of a text: with one key, all copies would follow each other in every epoch.

    0 for the first copy, so that documents without copies keep their hash as their key.
    """
    by_hash = np.argsort(hashes, kind="stable")
    ordered = hashes[by_hash]
    places = np.arange(len(hashes), dtype=np.uint64)
    first_of_its_text = np.ones(len(hashes), bool)
    first_of_its_text[1:] = ordered[1:] != ordered[:-1]
    added = np.empty_like(places)
    added[by_hash] = (places - np.maximum.accumulate(np.where(first_of_its_text, places, np.uint64(0)))) * _COPY_STEP
    return added


class _Epoch:
    """The order (N,) of a stream's documents in one epoch, and where every `_STRIDE`-th of them starts."""

    def __init__(self, store: Store, order: Indices, number: int) -> None:
        self.store = store
        self.order = order
        self.number = number
        sums = np.zeros(-(-len(order) // _STRIDE) + 1, np.int64)
        for part in chunks(len(order), 1024 * _STRIDE):
            starts = np.arange(0, part.stop - part.start, _STRIDE)
            at = part.start // _STRIDE + 1
            sums[at : at + len(starts)] = np.add.reduceat(store.lengths_of(order[part]), starts)
        self.starts = np.cumsum(sums)

    def around(self, offset: int) -> tuple[list[int], list[int]]:
        """The documents near a token of the epoch, and where each of them starts, with the end appended."""
        block = int(np.searchsorted(self.starts, offset, side="right")) - 1
        documents = self.order[block * _STRIDE : (block + 1) * _STRIDE]
        ends = self.starts[block] + np.cumsum(self.store.lengths_of(documents))
        return documents.tolist(), [int(self.starts[block]), *ends.tolist()]


class DocumentStream:
    """Documents of a store end to end, cut into rows that change places; documents and rows are reshuffled each epoch.
    Any row is found without reading what precedes.

    Documents alone are not enough: where they are long, the rows of a step would be of one document, and a stage that
    ends within an epoch would see few documents whole instead of many in part. `documents` (N,) ascend.
    """

    def __init__(self, store: Store, documents: Indices, seed: int, name: str) -> None:
        self.store = store
        self.documents = documents
        self.seed = seed_of(seed, name)
        self.tokens = store.tokens_of(documents)
        if self.tokens == 0:
            raise UserError(f"corpus '{name}' has no document left to train on: all are held out or watched elsewhere")
        repeated = store.repeated().astype(documents.dtype)  # of one type, or `documents` would be copied to search it
        at = np.minimum(np.searchsorted(documents, repeated), len(documents) - 1)
        self._copies = at[documents[at] == repeated]
        self._added = _apart(store.hashes[documents[self._copies]])
        self._epoch: _Epoch | None = None
        self._near: tuple[int, list[int], list[int]] = (-1, [], [])
        self._block: tuple[int, int, NDArray[np.int64]] = (0, 0, np.empty(0, np.int64))

    def _keys(self, places: NDArray[np.int64]) -> Words:
        """The keys (K,) of the documents at some places of `documents`, which ascend."""
        keys: Words = self.store.hashes[self.documents[places]]
        first, last = np.searchsorted(self._copies, (places[0], places[-1] + 1))
        copies = self._copies[first:last]
        at = np.searchsorted(places, copies)
        there = places[at] == copies
        keys[at[there]] += self._added[first:last][there]
        return keys

    def _order(self, epoch: int) -> _Epoch:
        """The order of an epoch; that of the one before is dropped first, so that never two are held."""
        if self._epoch is None or self._epoch.number != epoch:
            self._epoch = None
            order = shuffled_lean(self._keys, self.documents, seed_of(self.seed, epoch))
            self._epoch = _Epoch(self.store, order, epoch)
        return self._epoch

    def _find(self, epoch: int, offset: int) -> tuple[int, int, int]:
        """The document that holds a token of an epoch, where in the document it stands, and the document's length."""
        known, documents, starts = self._near
        if known != epoch or not starts[0] <= offset < starts[-1]:
            documents, starts = self._order(epoch).around(offset)
            self._near = (epoch, documents, starts)
        at = bisect_right(starts, offset) - 1
        return documents[at], offset - starts[at], starts[at + 1] - starts[at]

    def _place(self, index: int, length: int) -> int:
        """Which row of the documents end to end comes as row `index`: rows that lie whole in an epoch change places."""
        epoch = index * length // self.tokens
        first = -(-epoch * self.tokens // length)
        whole = max(0, (epoch + 1) * self.tokens // length - first)
        start = first + (index - first) // _MIXED_ROWS * _MIXED_ROWS
        count = min(_MIXED_ROWS, first + whole - start)
        if index - start >= count:
            return index
        known, at, places = self._block
        if (known, at) != (length, start):
            places = shuffled(np.arange(count, dtype=np.uint64), seed_of(self.seed, "rows", start))
            self._block = (length, start, places)
        return start + int(places[index - start])

    def pieces(self, index: int, length: int) -> list[tuple[int, int, int]]:
        """Row `index` of the endless stream cut into rows of `length` tokens: the documents in it, and of each the
        token it begins with and how many follow."""
        position = self._place(index, length) * length
        remaining = length
        found: list[tuple[int, int, int]] = []
        while remaining:
            document, inside, whole = self._find(*divmod(position, self.tokens))
            take = min(remaining, whole - inside)
            found.append((document, inside, take))
            position += take
            remaining -= take
        return found

    def row(self, index: int, length: int) -> list[Segment]:
        """The tokens of such a row."""
        return [Segment.of(self.store, *piece) for piece in self.pieces(index, length)]
