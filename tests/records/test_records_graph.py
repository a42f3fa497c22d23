"""Entities, nodes and edges of a few invented records, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rewarm.records import graph
from rewarm.records.entities import Line
from rewarm.records.store import Store
from rewarm.types import UserError

Stored = Callable[..., tuple[Store, Any]]


def reached(store: Store, edge: str) -> dict[str, set[str]]:
    """By id, the ids that an edge leads to."""
    adjacency = next(one for one in store.adjacencies if one.name == edge)
    names = [store.entity(number).id for number in range(store.entities)]
    found: dict[str, set[str]] = {}
    for number, name in enumerate(names):
        for pool in adjacency.pools_M[adjacency.of_E[number] : adjacency.of_E[number + 1]]:
            members = adjacency.members_M[adjacency.starts_P[pool] : adjacency.starts_P[pool + 1]]
            found.setdefault(name, set()).update(names[member] for member in members if member != number)
    return found


def test_records_as_nodes(stored: Stored, rows: Callable[..., str]) -> None:
    path = rows(
        "a", [{"id": 7, "name": "Lamp", "about": "It  glows.\n\n\nWell.", "watt": 3, "reviews": ["Good", None, "Bad"]}]
    )
    store, reading = stored({"a": {"path": path, "texts": ["about", "reviews"]}})
    found = store.entity(0)
    assert (found.source, found.id, found.title) == ("a", "7", "Lamp")
    assert [(node.kind, node.head, node.lines) for node in found.nodes] == [
        ("attributes", "name: Lamp", [Line("watt", "watt: 3")]),
        ("about", "name: Lamp", [Line("about", "about: It glows.\nWell.")]),
        ("reviews", "name: Lamp", [Line("reviews", "reviews: Good")]),
        ("reviews", "name: Lamp", [Line("reviews", "reviews: Bad")]),
    ]
    assert store.size_N.tolist() == [len(node.text(node.lines)) for node in found.nodes]
    assert reading.dropped["a"].counts == {"id": 1, "null": 1}


def test_a_template_makes_sentences_and_new_names(stored: Stored, rows: Callable[..., str]) -> None:
    path = rows("a", [{"id": "x", "name": "Lamp", "specs": {"watt": 3, "in": {"colour": "red"}}}])
    source = {"path": path, "rename": {"specs": "", "specs.in": "inside"}}
    store, _ = stored({"a": source}, template="The {key} of {title} is {value}.")
    assert [line.text for line in store.entity(0).nodes[0].lines] == [
        "The watt of Lamp is 3.", "The inside.colour of Lamp is red.",
    ]  # fmt: skip
    assert stored({"a": source})[0].entity(0).nodes[0].lines[0] == Line("specs.watt", "watt: 3")


def test_a_shared_value_is_an_edge(stored: Stored, rows: Callable[..., str]) -> None:
    found = [
        {"id": "a", "x": 1, "brand": "Lumo"}, {"id": "b", "x": 1, "brand": ["Lumo", "Pell"]},
        {"id": "c", "x": 1, "brand": "Pell"}, {"id": "d", "x": 1, "brand": "Ostra"}, {"id": "e", "x": 1},
    ]  # fmt: skip
    store, _ = stored({"s": {"path": rows("s", found), "edges": ["brand", {"field": "x", "most": 4}]}})
    assert reached(store, "brand") == {"a": {"b"}, "b": {"a", "c"}, "c": {"b"}}
    assert store.adjacencies[0].facts == {
        "records": 3, "groups": 2, "largest group": 2, "pairs": 2, "groups too large": 0,
    }  # fmt: skip
    assert reached(store, "x") == {}
    assert store.adjacencies[1].facts["groups too large"] == 1


def test_links_and_foreign_keys(stored: Stored, rows: Callable[..., str]) -> None:
    lamps = [
        {"id": "a", "n": 1, "code": "K1", "with": ["b", "a", "nobody"]},
        {"id": "b", "n": 2, "code": "K2", "with": ["a"]},
    ]
    reviews = [{"id": "a", "t": "x", "of": "K2"}, {"id": "r", "t": "y", "of": "K9"}]
    sources = {
        "lamps": {"path": rows("lamps", lamps), "edges": ["link:with"]},
        "reviews": {"path": rows("reviews", reviews), "edges": ["link:of->lamps.code"]},
    }
    store, reading = stored(sources)
    assert reached(store, "with") == {"a": {"b"}, "b": {"a"}}
    assert store.adjacencies[0].facts == {"records": 2, "pairs": 1, "of a record with itself": 1, "to nothing": 1}
    # The review's own id is also `a`, which is another record than the lamp `a`.
    assert reached(store, "of") == {"b": {"a"}, "a": {"b"}}
    assert store.adjacencies[1].facts["to nothing"] == 1
    assert reading.dropped["reviews"].counts["id"] == 4


def test_a_tree_by_paths_and_by_parents_with_a_cycle(stored: Stored, rows: Callable[..., str]) -> None:
    paths = [{"id": n, "path": p} for n, p in enumerate(("Home", "Home > Light", "Home>Light>Lamps", "Garden > Tools"))]
    store, _ = stored({"t": {"path": rows("t", paths), "edges": ["tree:path"]}})
    assert reached(store, "path") == {"0": {"1"}, "1": {"0", "2"}, "2": {"1"}}
    assert store.adjacencies[0].facts["on a cycle"] == 0
    assert store.adjacencies[0].facts["to nothing"] == 1
    parents = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "d", "f": "f", "g": None, "h": "g"}
    nodes = [{"id": name, "parent": parent, "n": name} for name, parent in parents.items()]
    store, _ = stored({"t": {"path": rows("u", nodes), "edges": ["tree:parent->t"]}})
    assert reached(store, "parent") == {
        "a": {"b", "c", "d"}, "b": {"a", "c"}, "c": {"a", "b"}, "d": {"a", "e"}, "e": {"d"}, "g": {"h"}, "h": {"g"},
    }  # fmt: skip
    assert store.adjacencies[0].facts["on a cycle"] == 4
    assert store.adjacencies[0].facts["of a record with itself"] == 1


def test_a_long_chain_of_parents_is_no_cycle() -> None:
    count = 50_000
    chain = np.arange(1, count, dtype=np.int32)
    assert graph.on_cycles(chain - 1, chain, count) == 0
    assert graph.on_cycles(np.append(chain - 1, count - 1), np.append(chain, 0), count) == count


def test_ids_that_are_missing_or_double(stored: Stored, rows: Callable[..., str]) -> None:
    found = [{"id": "a", "x": 1}, {"id": "a", "x": 2}, {"x": 3}, {"id": [], "x": 4}, {"id": True, "x": 5}, {"id": "b"}]
    store, reading = stored({"s": {"path": rows("s", found), "id": "id"}})
    assert reading.bad["s"].counts == {"duplicate id": 1, "no id": 3}
    assert reading.bad["s"].left_out == {"no text in the record": 1}
    assert [store.entity(0).nodes[0].lines[0].text] == ["x: 1"]


def test_a_source_without_text_says_what_was_dropped(stored: Stored, rows: Callable[..., str]) -> None:
    with pytest.raises(UserError, match=r"none of 2 rows has text .*1 null .*1 address"):
        stored({"s": {"path": rows("s", [{"id": "a", "x": None}, {"id": "b", "x": "http://x.example"}])}})


def test_guesses(stored: Stored, rows: Callable[..., str]) -> None:
    found = [
        {"sku": f"s{n}", "name": "Lamp", "brand": "Lumo", "path": "Home > Light", "parent_id": "s0", "related": ["s1"]}
        for n in range(4)
    ]
    source = stored({"s": {"path": rows("s", found)}})[0].spec.sources["s"]
    assert (source.id, source.title) == ("sku", "name")
    assert [(edge.kind, edge.field, edge.to) for edge in source.edges or ()] == [
        ("same", "brand", None), ("tree", "path", None), ("tree", "parent_id", "s"), ("link", "related", "s"),
    ]  # fmt: skip
    without = stored({"s": {"path": rows("t", [{"name": 1}, {"name": 2}]), "edges": "none", "title": None}})[0]
    assert without.spec.sources["s"].id is None
    assert without.entity(0).id in {"t.jsonl:1", "t.jsonl:2"}
    assert without.adjacencies == []
