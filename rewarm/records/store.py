"""All entities of a job: their texts in one file, and what walks need of them in arrays.

Shapes: E entities, N nodes. Entities are in the order of their hashes, so that nothing depends on the order of files or
rows as long as records have ids. In memory: 33 bytes for an entity, 9 for a node, and the edges (rewarm.records.graph);
the texts stay in the file.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rewarm.corpora.rows import SeenIds
from rewarm.hashing import seed_of
from rewarm.records import graph
from rewarm.records.entities import Entity, Line, Node
from rewarm.records.graph import Adjacency, Numbers, Places
from rewarm.records.spec import Edge, Spec

Measure = Callable[[str], int]
"""The length of a text, in what the spec's limit counts."""


def byte_length(text: str) -> int:
    """Bytes of the text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


class Kept(NamedTuple):
    """An entity as the file holds it."""

    source: str
    id: str
    title: str
    nodes: list[Node]


class Filling:
    """Takes entities one after the other, in any order; `store` then gives the whole."""

    def __init__(self, file: Path, spec: Spec, measure: Measure = byte_length) -> None:
        self.spec = spec
        self.measure = measure
        self.seen = SeenIds()
        self._file = file
        self._opened = file.open("wb")
        self._sources = list(spec.sources)
        self._kinds: dict[str, int] = {}
        self._at, self._keys = array("q"), array("Q")
        self._source, self._count, self._kind = array("B"), array("i"), array("B")
        self._size = array("i")
        # (name of an edge, role) -> hashes and the entities that have them, in the order of reading.
        self._ends: dict[tuple[str, str], tuple[array[int], array[int]]] = {}

    def add(self, entity: Entity) -> None:
        """Writes an entity to the file and its numbers to the arrays."""
        number = len(self._at)
        self._at.append(self._opened.tell())
        plain = [[node.kind, node.head, [[*line] for line in node.lines]] for node in entity.nodes]
        self._opened.write(orjson.dumps([entity.source, entity.id, entity.title, plain]) + b"\n")
        self._keys.append(seed_of("at", entity.source, "", entity.id))
        self._source.append(self._sources.index(entity.source))
        self._count.append(len(entity.nodes))
        for node in entity.nodes:
            # Beyond 255 kinds the last stands for the rest: it only names rows of the summary.
            self._kind.append(min(255, self._kinds.setdefault(node.kind, len(self._kinds))))
            self._size.append(self.measure(node.text(node.lines)))
        for name, role, key in entity.ends:
            keys, entities = self._ends.setdefault((name, role), (array("Q"), array("i")))
            keys.append(key)
            entities.append(number)

    def close(self) -> None:
        """Closes the file; `store` does so too."""
        self._opened.close()

    def store(self) -> Store:
        """The entities taken, in the order of their hashes."""
        self._opened.close()
        keys = np.frombuffer(self._keys, np.uint64) if len(self._keys) else np.zeros(0, np.uint64)
        order = np.argsort(keys, kind="stable")
        rank_E = np.empty(len(order), np.int32)
        rank_E[order] = np.arange(len(order), dtype=np.int32)
        counts = np.array(self._count, np.int64)
        before = np.concatenate([[0], np.cumsum(counts)])
        first_E = np.concatenate([[0], np.cumsum(counts[order])])
        # Where the nodes of each entity, in the new order, lie in the old one.
        nodes = np.arange(first_E[-1]) - np.repeat(first_E[:-1] - before[:-1][order], counts[order])
        return Store(
            self._file, self.spec, list(self._kinds), np.array(self._at, np.int64)[order], keys[order],
            np.array(self._source, np.uint8)[order], first_E, np.array(self._kind, np.uint8)[nodes],
            np.array(self._size, np.int32)[nodes], self._adjacencies(rank_E),
        )  # fmt: skip

    def _adjacencies(self, rank_E: Numbers) -> list[Adjacency]:
        targets = self._end("", "to", rank_E)
        made = []
        for edge in edges(self.spec):
            if edge.kind == "same":
                keys, entities = self._end(edge.title, "same", rank_E)
                made.append(graph.same(edge.title, edge.weight, keys, entities, len(rank_E), edge.most))
                continue
            keys, origins = self._end(edge.title, "from", rank_E)
            found = graph.join(keys, *targets)
            good = found >= 0
            made.append(graph.between(edge.title, edge.weight, origins[good], found[good], len(rank_E)))
            made[-1].facts["to nothing"] = int((~good).sum())
            if edge.kind == "tree":
                made[-1].facts["on a cycle"] = graph.on_cycles(origins[good], found[good], len(rank_E))
        return made

    def _end(self, name: str, role: str, rank_E: Numbers) -> tuple[graph.Keys, Numbers]:
        keys, entities = self._ends.get((name, role), (array("Q"), array("i")))
        return np.array(keys, np.uint64), rank_E[np.array(entities, np.int64)].astype(np.int32)


def edges(spec: Spec) -> list[Edge]:
    """Every type of edge once, in the order of the sources."""
    found: dict[str, Edge] = {}
    for source in spec.sources.values():
        for edge in source.edges or ():
            found.setdefault(edge.title, edge)
    return list(found.values())


@dataclass(frozen=True)
class Store:
    """The entities of a job. Entity e has the nodes first_E[e] to first_E[e + 1]; `size_N` is what a node's text
    measures, in any order of its lines."""

    file: Path
    spec: Spec
    kinds: list[str]
    at_E: Places
    keys_E: graph.Keys
    source_E: NDArray[np.uint8]
    first_E: Places
    kind_N: NDArray[np.uint8]
    size_N: Numbers
    adjacencies: list[Adjacency]

    @property
    def entities(self) -> int:
        """Number of entities."""
        return len(self.at_E)

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.size_N)

    @cached_property
    def size_E(self) -> Places:
        """The size of each entity (E,): of all its nodes together."""
        total = np.concatenate([[0], np.cumsum(self.size_N, dtype=np.int64)])
        size_E: Places = total[self.first_E[1:]] - total[self.first_E[:-1]]
        return size_E

    @cached_property
    def entity_N(self) -> Numbers:
        """The entity of each node (N,)."""
        return np.repeat(np.arange(self.entities, dtype=np.int32), np.diff(self.first_E))

    @cached_property
    def _opened(self) -> BinaryIO:
        return self.file.open("rb")

    def entity(self, number: int) -> Kept:
        """An entity, read from the file."""
        self._opened.seek(int(self.at_E[number]))
        source, name, title, nodes = orjson.loads(self._opened.readline())
        made = [Node(kind, head, [Line(*line) for line in lines]) for kind, head, lines in nodes]
        return Kept(source, name, title, made)

    def close(self) -> None:
        """Closes the file of texts."""
        if "_opened" in self.__dict__:
            self._opened.close()
