"""Edges as arrays: who can be reached from an entity along one type of edge.

Shapes: E entities, M memberships (an entity in a pool), P pools.

A pool is a set of entities that reach each other: all that share a value, or all neighbours of one entity. An edge
type holds 8 bytes for each membership and 16 for each entity or pool, and no Python object of any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Adjacency:
    """One type of edge. Entity e is in the pools `pools_M[of_E[e]:of_E[e + 1]]`; pool p holds the entities
    `members_M[starts_P[p]:starts_P[p + 1]]`. `facts` are counts for the summary."""

    name: str
    weight: float
    of_E: Places
    pools_M: Numbers
    starts_P: Places
    members_M: Numbers
    facts: dict[str, int]


def same(name: str, weight: float, keys_M: Keys, entities_M: Numbers, count: int, most: int | None) -> Adjacency:
    """Entities that have a key in common; a key of one entity, or of more than `most`, is no edge."""
    order = np.lexsort((entities_M, keys_M))
    keys_M, entities_M = keys_M[order], entities_M[order]
    fresh = np.ones(len(keys_M), bool)
    fresh[1:] = (keys_M[1:] != keys_M[:-1]) | (entities_M[1:] != entities_M[:-1])
    keys_M, entities_M = keys_M[fresh], entities_M[fresh]
    _, sizes = np.unique(keys_M, return_counts=True)
    crowded = sizes > (most or count)
    good = (sizes > 1) & ~crowded
    members_M = entities_M[np.repeat(good, sizes)]
    sizes = sizes[good]
    pools_M = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    by_entity = np.argsort(members_M, kind="stable")
    facts = {
        "records": len(np.unique(members_M)), "groups": len(sizes), "largest group": int(sizes.max(initial=0)),
        "pairs": int((sizes * (sizes - 1) // 2).sum()), "groups too large": int(crowded.sum()),
    }  # fmt: skip
    return Adjacency(
        name,
        weight,
        _starts(np.bincount(members_M, minlength=count)),
        pools_M[by_entity],
        _starts(sizes),
        members_M,
        facts,
    )


def between(name: str, weight: float, from_M: Numbers, to_M: Numbers, count: int) -> Adjacency:
    """Entities that point at each other, in both directions; each pair once, and none at itself."""
    loops = int((from_M == to_M).sum())
    first = np.minimum(from_M, to_M).astype(np.int64)
    both = np.unique(first * count + np.maximum(from_M, to_M))
    low, high = both // max(1, count), both % max(1, count)
    low, high = low[low != high], high[low != high]
    origin = np.concatenate([low, high])
    order = np.argsort(origin, kind="stable")
    members_M = np.concatenate([high, low])[order].astype(np.int32)
    sizes_E = np.bincount(origin, minlength=count)
    has = sizes_E > 0
    facts = {"records": int(has.sum()), "pairs": len(low), "of a record with itself": loops}
    return Adjacency(
        name, weight, _starts(has.astype(np.int64)), np.arange(int(has.sum()), dtype=np.int32), _starts(sizes_E[has]),
        members_M, facts,
    )  # fmt: skip


def join(keys_N: Keys, target_keys_M: Keys, targets_M: Numbers) -> Numbers:
    """For each key the first entity (in their order) that has it, or -1."""
    if not len(target_keys_M):
        return np.full(len(keys_N), -1, np.int32)
    order = np.lexsort((targets_M, target_keys_M))
    sorted_keys = target_keys_M[order]
    places = np.minimum(np.searchsorted(sorted_keys, keys_N), len(sorted_keys) - 1)
    return np.where(sorted_keys[places] == keys_N, targets_M[order][places], -1).astype(np.int32)


def on_cycles(from_M: Numbers, to_M: Numbers, count: int) -> int:
    """How many entities lie on a cycle of pointers, or on a way from one cycle to another."""
    alive = _peeled(from_M, to_M, np.ones(count, bool))
    return int(_peeled(to_M, from_M, alive).sum())


def _peeled(from_M: Numbers, to_M: Numbers, alive_E: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`alive_E` without entities that nothing points at, which are taken off again and again until all are on a cycle
    or behind one."""
    kept = alive_E[from_M] & alive_E[to_M]
    from_M, to_M = from_M[kept], to_M[kept]
    order = np.argsort(from_M, kind="stable")
    targets = to_M[order].data
    starts = _starts(np.bincount(from_M, minlength=len(alive_E))).data
    pointed_at = np.bincount(to_M, minlength=len(alive_E))
    alive_E = alive_E.copy()
    waiting = np.flatnonzero(alive_E & (pointed_at == 0)).tolist()
    left = pointed_at.data
    while waiting:
        entity = waiting.pop()
        alive_E[entity] = False
        for place in range(starts[entity], starts[entity + 1]):
            left[targets[place]] -= 1
            if left[targets[place]] == 0:
                waiting.append(targets[place])
    return alive_E


def _starts(sizes: NDArray[np.int64]) -> Places:
    found = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=found[1:])
    return found
