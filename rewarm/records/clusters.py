"""Nodes -> the documents of an epoch, in three ways: clusters along edges, records alone, and clusters at random.

Shapes: E entities, N nodes, K nodes of the epoch, D documents.

No node is used twice. `shuffled` is the control of `cluster`: its documents have as many nodes each, but which nodes is
left to chance, so what differs is the edges alone; it also parts the nodes of one record. Nodes that make a document
too long are exchanged for shorter ones of others; what cannot be mended is counted.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import seed_of
from rewarm.records.graph import Numbers, Places
from rewarm.records.shares import permutation
from rewarm.records.store import Store
from rewarm.records.walking import Walk

RECORD, CHANCE, START = "record", "chance", "start"
"""Names of edges that no field makes: to a node of the same record, to any node, and none, for the first node."""
_TRIES = 500


@dataclass(slots=True)
class Partition:
    """Documents of nodes: document d is nodes_K[starts_D[d]:starts_D[d + 1]]. Node k came into its document from
    the one with the number from_K[k] there (its own number for the first), by the edge `names[by_K[k]]`."""

    nodes_K: Numbers
    starts_D: Places
    from_K: Numbers
    by_K: NDArray[np.uint8]
    names: list[str]

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.starts_D) - 1

    def sizes(self, store: Store, gap: int) -> Places:
        """What each document measures (D,), with `gap` between two nodes."""
        total = np.concatenate([[0], np.cumsum(store.size_N[self.nodes_K], dtype=np.int64)])
        count_D = np.diff(self.starts_D)
        sizes_D: Places = total[self.starts_D[1:]] - total[self.starts_D[:-1]] + gap * (count_D - 1)
        return sizes_D


class _Growing:
    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.nodes, self.origins, self.by, self.ends = array("i"), array("i"), array("B"), array("q", [0])

    def close(self) -> None:
        if len(self.nodes) > self.ends[-1]:
            self.ends.append(len(self.nodes))

    def add(self, node: int, origin: int, by: int) -> None:
        self.nodes.append(node)
        self.origins.append(origin)
        self.by.append(by)

    def partition(self) -> Partition:
        self.close()
        return Partition(
            np.array(self.nodes, np.int32), np.array(self.ends, np.int64), np.array(self.origins, np.int32),
            np.array(self.by, np.uint8), self.names,
        )  # fmt: skip


def isolated(store: Store, taken_E: NDArray[np.bool_], epoch: int, gap: int) -> Partition:
    """Every record a document of its own, in several where its nodes do not go into one."""
    growing = _Growing([START, RECORD])
    limit = store.spec.limit
    size_N, first_E = store.size_N.data, store.first_E.data
    for entity in permutation(store.entities, seed_of(store.spec.seed, "isolated", epoch)).tolist():
        size = count = 0
        for node in range(first_E[entity], first_E[entity + 1]) if taken_E[entity] else ():
            if count and (size + gap + size_N[node] > limit or count == store.spec.most_nodes):
                growing.close()
                size = count = 0
            growing.add(node, max(0, count - 1), 1 if count else 0)
            size += size_N[node] + (gap if count else 0)
            count += 1
        growing.close()
    return growing.partition()


def cluster(
    store: Store, taken_E: NDArray[np.bool_], epoch: int, gap: int, look: Callable[[int], None] = lambda done: None
) -> Partition:
    """Clusters grown along edges from nodes in a random order; `look` is told the nodes used so far."""
    walk = Walk(store, taken_E, random.Random(seed_of(store.spec.seed, "walk", epoch)).random)
    growing = _Growing([START, RECORD, *(adjacency.name for adjacency in store.adjacencies)])
    for start in permutation(store.nodes, seed_of(store.spec.seed, "starts", epoch)).tolist():
        if walk.is_free(start):
            for node, origin, by in walk.grown(start, gap):
                growing.add(node, origin, by)
            growing.close()
            look(len(growing.nodes))
    return growing.partition()


def shuffled(store: Store, model: Partition, epoch: int, gap: int) -> Partition:
    """Documents of as many nodes each as those of `model`, of the same nodes, which are dealt out at random.

    Two nodes change places where that brings a document within the limit and leaves the other there.
    """
    draw = random.Random(seed_of(store.spec.seed, "exchange", epoch)).random
    nodes_K = model.nodes_K[permutation(len(model.nodes_K), seed_of(store.spec.seed, "deal", epoch))]
    starts_D = model.starts_D
    counts = np.diff(starts_D)
    made = Partition(
        nodes_K, starts_D, np.zeros(len(nodes_K), np.int32),
        (np.arange(len(nodes_K)) != np.repeat(starts_D[:-1], counts)).astype(np.uint8), [START, CHANCE],
    )  # fmt: skip
    size_D = made.sizes(store, gap)
    document_K = np.repeat(np.arange(made.documents, dtype=np.int32), counts)
    size_N, limit = store.size_N, store.spec.limit
    for document in np.flatnonzero((size_D > limit) & (counts > 1)).tolist():
        for _ in range(_TRIES):
            if size_D[document] <= limit:
                break
            here = slice(int(starts_D[document]), int(starts_D[document + 1]))
            longest = here.start + int(np.argmax(size_N[nodes_K[here]]))
            other = int(draw() * len(nodes_K))
            gain = int(size_N[nodes_K[longest]]) - int(size_N[nodes_K[other]])
            there = int(document_K[other])
            if gain <= 0 or there == document or (size_D[there] + gain > limit and counts[there] > 1):
                continue
            nodes_K[longest], nodes_K[other] = nodes_K[other], nodes_K[longest]
            size_D[document] -= gain
            size_D[there] += gain
    return made
