"""The study's probes: what is asked is in no text that is trained on, and the kinds are what they say."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Written = Callable[..., tuple[dict[str, Any], list[list[dict[str, Any]]], list[Any]]]


@pytest.fixture(scope="module")
def shop_study() -> ModuleType:
    """The module studies/records/shop.py."""
    file = Path(__file__).parents[2] / "studies" / "records" / "shop.py"
    spec = importlib.util.spec_from_file_location("records_study_shop", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lamps() -> list[dict[str, Any]]:
    """Thirty lines of three lamps: `socket` is the line's, `code` is each lamp's own, `shade` is shared by two."""
    return [
        {"id": f"{line}-{n}", "line": f"lamp/Lamp {line}", "maker": "lamp/Lamp", "name": f"Lamp {line}", "price": 3.5,
         "socket": f"S{line}", "code": f"C{line}{n}", "shade": f"T{line}{min(n, 1)}"}
        for line in range(30) for n in range(3)
    ]  # fmt: skip


def tree() -> list[dict[str, Any]]:
    """A root, ten rooms and three lamps in each; one lamp is not listed by its room."""
    rows: list[dict[str, Any]] = [
        {"id": "Home", "path": "Home", "name": "Home", "subcategories": [f"Room {n}" for n in range(10)]}
    ]
    for n in range(10):
        below = [f"Lamp {n}{k}" for k in range(3)]
        rows.append({"id": f"Home > Room {n}", "path": f"Home > Room {n}", "name": f"Room {n}", "parent": "Home",
                     "subcategories": below[:2] if n == 0 else below})  # fmt: skip
        rows += [
            {
                "id": f"Home > Room {n} > {name}",
                "path": f"Home > Room {n} > {name}",
                "name": name,
                "parent": f"Room {n}",
            }
            for name in below
        ]
    return rows


def test_kinds_of_probes_are_what_they_say(shop_study: ModuleType) -> None:
    before = {row["id"]: row for row in copy.deepcopy(lamps())}
    rows = lamps()
    probes = shop_study.product_probes(rows, 12)
    assert [probe["kind"] for probe in probes] == ["line"] * 12 + ["own"] * 12
    after = {row["id"]: row for row in rows}
    assert len({probe["record"] for probe in probes}) == len(probes)
    for probe in probes:
        record, key = before[probe["record"]], probe["key"]
        assert key not in after[probe["record"]]
        assert probe["answer"] == shop_study.said(record[key])
        line = [row for row in rows if row["line"] == record["line"] and row["id"] != record["id"]]
        stating = [row for row in line if row.get(key) == record[key]]
        assert bool(stating) == (probe["kind"] == "line")
        if stating:
            assert {row["id"] for row in line if before[row["id"]][key] == record[key]} == {
                row["id"] for row in stating
            }
            assert after[probe["shown"][0]][key] == record[key]
    unchanged = [row for row in rows if row["id"] not in {probe["record"] for probe in probes}]
    assert all(row == before[row["id"]] for row in unchanged)


def test_what_is_asked_is_in_no_document_of_its_record(shop_study: ModuleType, written: Written, rows: Any) -> None:
    goods, places = lamps(), tree()
    probes = shop_study.product_probes(goods, 12) + shop_study.tree_probes(places, 12)
    sources = {
        "products": {
            "path": rows("products", goods),
            "id": "id",
            "title": "name",
            "drop": ["line", "maker"],
            "edges": ["line"],
        },
        "tree": {"path": rows("tree", places), "id": "id", "title": "name", "drop": "path", "edges": ["tree:path"]},
    }
    for arm in ("cluster", "isolated", "shuffled"):
        _, documents, provenance = written(sources, arm=arm, epochs=2)
        own: dict[str, list[str]] = {}
        for epoch in range(2):
            for document, told in zip(documents[epoch], provenance[epoch], strict=True):
                for node in told["nodes"]:
                    own.setdefault(node["record"], []).append(document["text"][node["start"] : node["end"]])
        assert len(probes) == 36
        for probe in probes:
            texts = own[probe["record"]]
            assert len(texts) == 2
            assert not any(line.startswith(f"{probe['key']}:") for text in texts for line in text.split("\n"))
            assert not any("path:" in text or "line:" in text or probe["record"] in text for text in texts)


def test_prompts_are_as_documents_write_records_and_end_before_the_answer(
    shop_study: ModuleType, written: Written, rows: Any
) -> None:
    places = tree()
    probes = shop_study.tree_probes(places, 31)
    assert len(probes) == 31
    assert {probe["kind"] for probe in probes} == {"tree"}
    assert not any(probe["record"] == "Home > Room 0 > Lamp 02" for probe in probes)
    probe = next(probe for probe in probes if probe["record"] == "Home > Room 3 > Lamp 31")
    assert probe["answer"] == "Room 3"
    found = shop_study.prompts(places, probe)
    assert found["alone"] == "name: Lamp 31\nparent:"
    linked = "name: Room 3\nparent: Home\nsubcategories: Lamp 30; Lamp 31; Lamp 32\n\nname: Lamp 31\nparent:"
    assert found["linked"] == linked
    assert found["unlinked"].endswith("\n\nname: Lamp 31\nparent:")
    room = {"name": "Room", "ok": True, "size": 2.0, "in": ["a", 1.5], "far": False, "path": "x"}
    path = rows("rooms", [{"id": "r", **room}])
    _, [[document]], _ = written({"s": {"path": path, "id": "id", "title": "name", "drop": "path", "edges": "none"}})
    assert sorted(document["text"].split("\n")) == sorted(shop_study.text({"id": "r", **room}).split("\n"))


def test_whole_lines_are_chosen_without_copies(shop_study: ModuleType) -> None:
    given = [
        {"id": f"{n}-{k}", "category": "desk-lamp", "attributes": {"name": f"Lumo {n}", "cap_size": k % 2, "x": None}}
        for n in range(50) for k in range(4)
    ]  # fmt: skip
    chosen = shop_study.products(iter(given), 20)
    assert len(chosen) == 20
    assert all(set(row) == {"id", "line", "name", "category", "cap size", "maker"} for row in chosen)
    assert {row["maker"] for row in chosen} == {"desk lamp/Lumo"}
    lines = [row["line"] for row in chosen]
    assert all(lines.count(line) == 2 for line in lines)
