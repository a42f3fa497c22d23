"""Documents of an epoch: what holds for every arm, and what parts the arms."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rewarm.records import clusters, shares
from rewarm.records.job import parted
from rewarm.records.store import Store
from rewarm.records.walking import Walk

ARMS = ("cluster", "isolated", "shuffled")
GAP = 2
Stored = Callable[..., tuple[Store, Any]]
Written = Callable[..., tuple[dict[str, Any], list[list[dict[str, Any]]], list[Any]]]


def everything(store: Store) -> Any:
    return np.ones(store.entities, bool)


def made(store: Store, arm: Any, epoch: int = 0) -> clusters.Partition:
    return parted(store, arm, everything(store), epoch, GAP)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("walk", ["random", "breadth"])
def test_every_node_is_used_once_and_documents_keep_the_limit(
    arm: str, walk: str, stored: Stored, shop: dict[str, Any]
) -> None:
    store, _ = stored(shop, limit=300, walk=walk)
    partition = made(store, arm)
    assert sorted(partition.nodes_K.tolist()) == list(range(store.nodes))
    assert partition.sizes(store, GAP).max() <= 300
    assert np.diff(partition.starts_D).min() >= 1


def neighbours(store: Store, edge: str, entity: int) -> set[int]:
    adjacency = next(one for one in store.adjacencies if one.name == edge)
    pools = adjacency.pools_M[adjacency.of_E[entity] : adjacency.of_E[entity + 1]]
    return {
        int(member)
        for pool in pools
        for member in adjacency.members_M[adjacency.starts_P[pool] : adjacency.starts_P[pool + 1]]
    } - {entity}


@pytest.mark.parametrize("walk", ["random", "breadth"])
def test_every_step_goes_along_the_edge_that_it_names(walk: str, stored: Stored, shop: dict[str, Any]) -> None:
    shop["lamps"]["texts"] = ["colour", "watt"]
    store, _ = stored(shop, limit=400, walk=walk)
    partition = made(store, "cluster")
    used: Counter[str] = Counter()
    for first, end in zip(partition.starts_D[:-1], partition.starts_D[1:], strict=True):
        nodes = store.entity_N[partition.nodes_K[first:end]].tolist()
        for place in range(1, end - first):
            origin, edge = int(partition.from_K[first + place]), partition.names[partition.by_K[first + place]]
            assert origin < place
            used[edge] += 1
            if edge == clusters.RECORD:
                assert nodes[origin] == nodes[place]
            else:
                assert nodes[place] in neighbours(store, edge, nodes[origin])
    assert set(used) == {clusters.RECORD, "brand", "goes_with", "reviews of"}


def test_isolated_documents_hold_one_record_each(stored: Stored, shop: dict[str, Any]) -> None:
    shop["lamps"]["texts"] = ["colour", "watt"]
    store, _ = stored(shop, limit=45)
    partition = made(store, "isolated")
    entities = store.entity_N[partition.nodes_K]
    for first, end in zip(partition.starts_D[:-1], partition.starts_D[1:], strict=True):
        assert len(set(entities[first:end].tolist())) == 1
    assert partition.documents > store.entities


def test_shuffled_has_the_sizes_of_cluster_and_its_edges_by_chance(stored: Stored, shop: dict[str, Any]) -> None:
    """Of lamps in one document, a quarter of pairs has one brand by chance; clusters along brands have most."""
    del shop["reviews"]
    shop["lamps"]["edges"] = ["brand"]
    store, _ = stored(shop, limit=300)
    found = {arm: made(store, arm) for arm in ARMS}
    assert np.diff(found["cluster"].starts_D).tolist() == np.diff(found["shuffled"].starts_D).tolist()
    brands = [next(line.text for line in store.entity(e).nodes[0].lines if line.field == "brand") for e in range(60)]
    shared = {}
    for arm in ("cluster", "shuffled"):
        pairs = [
            brands[a] == brands[b]
            for first, end in zip(found[arm].starts_D[:-1], found[arm].starts_D[1:], strict=True)
            for a in found[arm].nodes_K[first:end]
            for b in found[arm].nodes_K[first:end]
            if a < b
        ]
        shared[arm] = sum(pairs) / len(pairs)
    assert shared["cluster"] == 1.0
    assert shared["shuffled"] < 0.5


def test_what_is_too_long_is_exchanged_for_shorter_nodes(stored: Stored, rows: Callable[..., str]) -> None:
    """One long node in each of twenty documents of ten: dealt out at random, some would get three."""
    found = [{"id": n, "g": n // 10, "t": "x" * (200 if n % 10 == 0 else 10)} for n in range(200)]
    store, _ = stored({"s": {"path": rows("s", found), "title": None, "edges": ["g"]}}, limit=520)
    plain = made(store, "cluster")
    assert np.diff(plain.starts_D).max() == 10
    partition = made(store, "shuffled")
    assert partition.sizes(store, GAP).max() <= 520
    assert sorted(partition.nodes_K.tolist()) == list(range(200))


def test_a_node_longer_than_the_limit_is_a_document_alone(stored: Stored, shop: dict[str, Any]) -> None:
    store, _ = stored(shop, limit=10)
    for arm in ARMS:
        assert made(store, arm).documents == store.nodes


def test_large_groups_are_gone_through_in_linear_time(stored: Stored, rows: Callable[..., str]) -> None:
    """5,000 records of one brand: each dead member of the pool is met once, not once for every draw."""
    draws = 0

    def draw() -> float:
        nonlocal draws
        draws += 1
        return source.random()

    source = random.Random(0)
    found = [{"id": n, "brand": "Lumo"} for n in range(5_000)]
    store, _ = stored({"s": {"path": rows("s", found), "edges": ["brand"]}}, most_nodes=5)
    walk = Walk(store, everything(store), draw)
    clustered = [list(walk.grown(start, GAP)) for start in range(store.nodes) if walk.is_free(start)]
    assert sum(map(len, clustered)) == 5_000
    assert draws < 5_000 * 8


def test_held_out_records_are_in_no_epoch(stored: Stored, shop: dict[str, Any]) -> None:
    store, _ = stored(shop, holdout=0.2)
    out_E = shares.held_out(store)
    assert 15 <= out_E.sum() <= 45
    partition = parted(store, "cluster", shares.chosen(store, ~out_E, 0), 0, GAP)
    assert set(store.entity_N[partition.nodes_K].tolist()) == set(np.flatnonzero(~out_E).tolist())


def test_weights_are_shares_of_the_text_and_every_record_comes_equally_often(
    stored: Stored, rows: Callable[..., str]
) -> None:
    many = [{"id": n, "t": "word " * (n % 9 + 1)} for n in range(900)]
    few = [{"id": n, "t": "other " * 3} for n in range(100)]
    sources = {
        "many": {"path": rows("many", many), "edges": "none", "weight": 2},
        "few": {"path": rows("few", few), "edges": "none", "weight": 1},
        "whole": {"path": rows("whole", few), "edges": "none"},
    }
    store, _ = stored(sources)
    free = everything(store)
    part = shares.parts(store, free)
    assert (part["few"], part["whole"]) == (1.0, 1.0)
    seen = np.zeros(store.entities, int)
    epochs = round(10 / part["many"])
    for epoch in range(epochs):
        taken = shares.chosen(store, free, epoch)
        held = np.bincount(store.source_E[taken], weights=store.size_E[taken])
        assert held[0] / held[1] == pytest.approx(2.0, abs=2 * 60 / held[1])
        assert held[2] == store.size_E[store.source_E == 2].sum()
        seen += taken
    assert set(seen[store.source_E == 0].tolist()) <= {9, 10, 11}
