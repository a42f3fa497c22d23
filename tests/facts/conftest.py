"""Small snapshots in every form, and reading them to their end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.facts import Fact, Snapshot, Tally

Claim = dict[str, Any]


def _read(snapshot: Snapshot) -> tuple[list[Fact], Tally]:
    tally = Tally()
    facts = list(snapshot.read(tally))
    assert tally.rows == len(facts) + tally.left_out.total() + tally.total
    return facts, tally


@pytest.fixture(scope="session")
def read() -> Callable[[Snapshot], tuple[list[Fact], Tally]]:
    """A function: snapshot -> its facts and counts; fails where rows are not facts, rows left out and bad rows."""
    return _read


def _entity(name: str, label: str, title: str = "", **claims: list[Claim]) -> str:
    entity: dict[str, Any] = {
        "type": "property" if name.startswith("P") else "item",
        "id": name,
        "labels": {"en": {"language": "en", "value": label}} if label else [],
        "claims": claims or [],
    }
    if title:
        entity["sitelinks"] = {"enwiki": {"site": "enwiki", "title": title}}
    return json.dumps(entity)


def _claim(value: Any, rank: str = "normal", **qualifiers: Any) -> Claim:
    held = {"datavalue": {"value": {"entity-type": "item", "id": value} if isinstance(value, str) else value}}
    return {"mainsnak": {"snaktype": "value", **held}, "rank": rank, "qualifiers": qualifiers}


@pytest.fixture(scope="session")
def entity() -> Callable[..., str]:
    """A function: id, label, title="", P36=[claims] -> an entity of a dump as JSON."""
    return _entity


@pytest.fixture(scope="session")
def claim() -> Callable[..., Claim]:
    """A function: item id or another value, rank="normal", P582=[...] -> a statement."""
    return _claim


@pytest.fixture(scope="session")
def write_dump(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function: path, lines -> a dump with these entities at the path."""

    def write(path: Path, *lines: str) -> Path:
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
        return path

    return write
