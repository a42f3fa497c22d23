"""A document of an epoch as text, and the row that says where every piece of it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from rewarm.hashing import seed_of
from rewarm.records.clusters import START, Partition
from rewarm.records.shares import permutation
from rewarm.records.store import Store

GAP = "\n\n"


class Written(NamedTuple):
    """A document: its row for the corpus, and its row for the file of provenance."""

    row: dict[str, Any]
    provenance: dict[str, Any]
    sizes: dict[str, int]


def documents(store: Store, partition: Partition, arm: str, epoch: int) -> Iterator[Written]:
    """The documents of an epoch (from 0) in a random order, each with its nodes and their lines in a random order.

    The lines of a node have the same order in every arm, and another one in every epoch.
    """
    order = permutation(partition.documents, seed_of(store.spec.seed, "documents", arm, epoch))
    for place, number in enumerate(order.tolist()):
        yield _document(store, partition, number, f"{arm}-{epoch + 1}-{place}", epoch)


def _document(store: Store, partition: Partition, number: int, name: str, epoch: int) -> Written:
    first, end = int(partition.starts_D[number]), int(partition.starts_D[number + 1])
    seed = store.spec.seed
    # Where the nodes stand in the text, and at which place each is that was the k-th to join.
    order = permutation(end - first, seed_of(seed, "nodes", name))
    places = order.argsort().tolist()
    texts: list[str] = []
    pieces: list[dict[str, Any]] = []
    sizes: dict[str, int] = {}
    at = 0
    for joined in order.tolist():
        node_number = int(partition.nodes_K[first + joined])
        entity = int(store.entity_N[node_number])
        kept = store.entity(entity)
        place = node_number - int(store.first_E[entity])
        node = kept.nodes[place]
        lines = node.ordered(seed, "lines", epoch, kept.source, kept.id, place)
        text = node.text(lines)
        by = partition.names[int(partition.by_K[first + joined])]
        piece: dict[str, Any] = {"source": kept.source, "record": kept.id, "kind": node.kind, "node": place}
        piece |= {"fields": [line.field for line in lines], "start": at, "end": at + len(text)}
        if by != START:
            piece |= {"edge": by, "from": places[int(partition.from_K[first + joined])]}
        pieces.append(piece)
        texts.append(text)
        at += len(text) + len(GAP)
        sizes[kept.source] = sizes.get(kept.source, 0) + int(store.size_N[node_number])
    row = {"id": name, "epoch": epoch + 1, "text": GAP.join(texts)}
    return Written(row, {"id": name, "epoch": epoch + 1, "nodes": pieces}, sizes)
