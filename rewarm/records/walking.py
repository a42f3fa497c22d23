"""A cluster grows from a node along edges: one type of edge for each step, and no node twice in an epoch.

A neighbour is drawn from a pool in constant time however large the pool is: entities without a free node are moved
behind the living ones when they are met, each once. An epoch holds 4 bytes for each membership and pool, 4 for each
entity and 1 for each node on top of the store's arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from rewarm.records.graph import Adjacency
from rewarm.records.store import Store

_MISFITS = 8
"""A cluster is full after so many nodes that were too long for it."""


class _Pools:
    """One type of edge, and which members of its pools may still have a free node."""

    def __init__(self, adjacency: Adjacency) -> None:
        self.weight = adjacency.weight
        self.of = adjacency.of_E.data
        self.pools = adjacency.pools_M.data
        self.starts = adjacency.starts_P.data
        # A copy: what one epoch did to the order must not change the next.
        self.members = adjacency.members_M.copy().data
        self.living = np.diff(adjacency.starts_P).astype(np.int32).data

    def neighbour(self, entity: int, free: memoryview, draw: Callable[[], float]) -> int:
        """A random entity with a free node that shares a pool with this one; -1 when there is none."""
        first, end = self.of[entity], self.of[entity + 1]
        shift = int(draw() * (end - first)) if end - first > 1 else 0
        for place in range(end - first):
            found = self._living(self.pools[first + (place + shift) % (end - first)], entity, free, draw)
            if found >= 0:
                return found
        return -1

    def _living(self, pool: int, entity: int, free: memoryview, draw: Callable[[], float]) -> int:
        start, members = self.starts[pool], self.members
        while living := self.living[pool]:
            place = int(draw() * living)
            if members[start + place] == entity:
                if living == 1:
                    return -1
                place = (place + 1) % living
            found: int = members[start + place]
            if free[found]:
                return found
            last = start + living - 1
            members[start + place], members[last] = members[last], found
            self.living[pool] = living - 1
        return -1


class Walk:
    """What an epoch has used, and how a cluster grows from a node of it. `draw` gives random numbers in [0, 1)."""

    def __init__(self, store: Store, taken_E: NDArray[np.bool_], draw: Callable[[], float]) -> None:
        self.spec = store.spec
        self.draw = draw
        self._first = store.first_E.data
        self._size = store.size_N.data
        self._entity = store.entity_N.data
        counts = np.diff(store.first_E)
        # Free nodes of each entity; none of those that are not in the epoch.
        self._free = np.where(taken_E, counts, 0).astype(np.int32).data
        self._used = memoryview(bytearray(np.repeat(~taken_E, counts).astype(np.uint8).tobytes()))
        self._pools = [_Pools(adjacency) for adjacency in store.adjacencies]

    def is_free(self, node: int) -> bool:
        """Whether a node is of this epoch and not used yet."""
        return not self._used[node]

    def grown(self, start: int, gap: int) -> Iterator[tuple[int, int, int]]:
        """The nodes of the cluster that begins with a free node, which are used then.

        Each comes with the number of the node that it was reached from, and that of the edge: 0 none, 1 the same
        record, and from 2 on those of the store. A node longer than the limit is a cluster alone.
        """
        nodes = [start]
        self._use(start)
        yield start, 0, 0
        room = self.spec.limit - self._size[start]
        misfits = 0
        while len(nodes) < self.spec.most_nodes and room > gap and misfits < _MISFITS:
            step = self._step(nodes)
            if step is None:
                return
            node = step[0]
            if self._size[node] + gap > room:
                misfits += 1
                continue
            self._use(node)
            nodes.append(node)
            room -= self._size[node] + gap
            yield step

    def _use(self, node: int) -> None:
        self._used[node] = 1
        self._free[self._entity[node]] -= 1

    def _step(self, nodes: list[int]) -> tuple[int, int, int] | None:
        """A free node that some edge reaches: from the last node on where that can be (breadth: from the first)."""
        for origin in self._origins(len(nodes)):
            entity = self._entity[nodes[origin]]
            for by in self._types():
                if by == 1:
                    found = entity if self._free[entity] else -1
                else:
                    found = self._pools[by - 2].neighbour(entity, self._free, self.draw)
                if found >= 0:
                    return self._node(found), origin, by
        return None

    def _origins(self, count: int) -> Iterator[int]:
        if self.spec.walk == "breadth":
            yield from range(count)
            return
        yield count - 1
        left = list(range(count - 1))
        while left:
            place = int(self.draw() * len(left))
            left[place], left[-1] = left[-1], left[place]
            yield left.pop()

    def _types(self) -> Iterator[int]:
        """The types of edges in a random order, likely ones first: 1 is another node of the same record."""
        left = [(1, 1.0), *((number + 2, pools.weight) for number, pools in enumerate(self._pools))]
        while left:
            at = self.draw() * sum(weight for _, weight in left)
            place = 0
            while place < len(left) - 1 and at >= left[place][1]:
                at -= left[place][1]
                place += 1
            yield left.pop(place)[0]

    def _node(self, entity: int) -> int:
        """A random free node of an entity that has one."""
        free = [node for node in range(self._first[entity], self._first[entity + 1]) if not self._used[node]]
        return free[int(self.draw() * len(free))]
