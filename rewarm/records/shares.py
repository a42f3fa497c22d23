"""Which entities an epoch is made of: all but those held out, and of sources with a weight as much as it asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import fraction, seed_of, shuffled
from rewarm.records.store import Store


def permutation(count: int, seed: int) -> NDArray[np.int64]:
    """The numbers below `count` in an order that depends on the seed only."""
    return shuffled(np.arange(count, dtype=np.uint64), seed)


def held_out(store: Store) -> NDArray[np.bool_]:
    """Which entities (E,) are in no epoch: the spec's share, by the hashes of their ids."""
    return fraction(store.keys_E, seed_of(store.spec.seed, "held out")) < store.spec.holdout


def parts(store: Store, free_E: NDArray[np.bool_]) -> dict[str, float]:
    """What part of each source goes into an epoch: 1, or less where its weight asks for less than there is.

    Sources without a weight come whole. Of the others, the one with the least text for its weight comes whole.
    """
    names = list(store.spec.sources)
    held = np.bincount(store.source_E[free_E], weights=store.size_E[free_E], minlength=len(names))
    asked = {
        name: (source.weight, held[number])
        for number, (name, source) in enumerate(store.spec.sources.items())
        if source.weight is not None and held[number] > 0
    }
    least = min((size / weight for weight, size in asked.values()), default=1.0)
    return {name: least * asked[name][0] / asked[name][1] if name in asked else 1.0 for name in names}


def chosen(store: Store, free_E: NDArray[np.bool_], epoch: int) -> NDArray[np.bool_]:
    """The entities (E,) of an epoch, from 0.

    A source that is cut is gone through from epoch to epoch, in an order of hashes and round and round: every entity
    comes equally often, and the size is as asked but for one entity.
    """
    taken_E = free_E.copy()
    for number, part in enumerate(parts(store, free_E).values()):
        if part >= 1:
            continue
        here = np.flatnonzero(free_E & (store.source_E == number))
        here = here[shuffled(store.keys_E[here], seed_of(store.spec.seed, "share"))]
        middle = np.cumsum(store.size_E[here]) - store.size_E[here] / 2
        at = middle / max(1, store.size_E[here].sum())
        taken_E[here] = (at - epoch * part) % 1.0 < part
    return taken_E
