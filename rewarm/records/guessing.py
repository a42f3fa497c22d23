"""What the first rows of a source tell: its fields, and which of them are its id, its title and its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rewarm.methods import nearest
from rewarm.records.flattening import scalar, values_at
from rewarm.records.reading import KEY, Row, rows
from rewarm.records.spec import AUTO, Edge, Source, Spec
from rewarm.types import BadRows, UserError

SAMPLE_ROWS = 1000
_IDS = ("id", KEY, "_id", "uid", "uuid", "sku", "product_id", "item_id", "asin", "gtin", "ean", "upc", "key")
_TITLES = ("title", "name", "product", "product_name", "productName", "label", "headline", "Name", "Title")
_SAME = (
    "category", "categories", "brand", "manufacturer", "maker", "series", "publisher", "author", "authors", "genre",
    "department", "collection", "product_type", "country", "region", "language",
)  # fmt: skip
_TREES = ("category_path", "path", "breadcrumb", "breadcrumbs", "taxonomy", "category")
_PARENTS = ("parent_id", "parent", "parentId", "parent_category")
_MOST_FIELDS = 10_000


@dataclass(slots=True)
class Found:
    """A field of a source in its first rows: how many have a value, how many different values, and the first one."""

    rows: int = 0
    values: int = 0
    different: set[int] = field(default_factory=set)
    repeated: bool = False
    example: str = ""
    longest: int = 0

    def see(self, values: Sequence[str]) -> None:
        """Takes in what one row has."""
        self.rows += 1
        for value in values:
            self.example = self.example or value
            self.values += 1
            self.repeated = self.repeated or hash(value) in self.different
            self.different.add(hash(value))
            self.longest = max(self.longest, len(value))


@dataclass(slots=True)
class Survey:
    """The first rows of a source, and what fields they have; dotted ones for what lies in mappings."""

    rows: list[Row]
    fields: dict[str, Found]


def survey(source: Source, most: int = SAMPLE_ROWS) -> Survey:
    """What the first rows of a source hold. UserError when there are no files."""
    first = list(islice(rows(source, BadRows()), most))
    found: dict[str, Found] = {}
    for row in first:
        for key in _keys(row.fields, source):
            if len(found) < _MOST_FIELDS and (values := values_at(row.fields, key, 100)):
                found.setdefault(key, Found()).see(values)
    return Survey(first, found)


def _keys(fields: Any, source: Source) -> list[str]:
    """The dotted keys of a row, to three levels: deeper ones name no edge that a person would look for."""
    keys: dict[str, None] = {}
    waiting = [(str(key), value, 1) for key, value in fields.items()]
    for key, value, level in waiting:
        items = value[:3] if isinstance(value, list) else [value]
        mappings = [item for item in items if isinstance(item, dict)]
        if mappings and level < 3:
            waiting += [(f"{key}.{name}", inner, level + 1) for item in mappings for name, inner in item.items()]
        elif not mappings:
            keys[key] = None
    return list(keys)


def settled(spec: Spec, surveys: dict[str, Survey]) -> Spec:
    """The spec with every `auto` answered from the first rows of its source.

    UserError for a field that is named and is in none of them; one of a text or an edge may come later.
    """
    sources = {}
    for name, source in spec.sources.items():
        seen = surveys[name]
        changes: dict[str, Any] = {}
        _check_names(name, source, seen)
        if source.id == AUTO:
            changes["id"] = _id(seen)
        if source.title == AUTO:
            changes["title"] = next((key for key in _TITLES if key in seen.fields and key not in source.drop), None)
        if source.edges is None:
            changes["edges"] = _edges(name, changes.get("id", source.id), seen)
        sources[name] = source.model_copy(update=changes)
    return spec.model_copy(update={"sources": sources})


def _check_names(name: str, source: Source, seen: Survey) -> None:
    named = [key for key in (source.id, source.title) if key not in (None, AUTO)]
    if len(seen.rows) < SAMPLE_ROWS:
        named += [*source.texts, *(edge.field for edge in source.edges or ())]
    for key in named:
        if seen.rows and key is not None and not any(_has(row.fields, key) for row in seen.rows):
            raise UserError(f"source '{name}': no row has a field '{key}'. {nearest(key, seen.fields)}")


def _has(fields: Any, key: str) -> bool:
    return key in fields or bool(values_at(fields, key, 1))


def _id(seen: Survey) -> str | None:
    """A field that every one of the first rows has, never with the same value twice."""
    for key in _IDS:
        found = seen.fields.get(key)
        if found and found.rows == found.values == len(seen.rows) and not found.repeated:
            return key
    return None


def _edges(name: str, identity: str | None, seen: Survey) -> tuple[Edge, ...]:
    ids = {scalar(row.fields.get(identity))[0] if identity else row.name for row in seen.rows}
    made: list[Edge] = []
    for key, found in seen.fields.items():
        if key == identity:
            continue
        values = [value for row in seen.rows[:200] for value in values_at(row.fields, key, 10)]
        points = sum(value in ids for value in values) * 2 >= len(values)
        if key in _TREES and _is_path(seen, key):
            made.append(Edge(kind="tree", field=key))
        elif key in _PARENTS and points:
            made.append(Edge(kind="tree", field=key, to=name))
        # Numbers agree with ids that are numbers by chance.
        elif points and not any(value.isdecimal() for value in values):
            made.append(Edge(kind="link", field=key, to=name))
        elif key in _SAME and found.repeated:
            made.append(Edge(field=key))
    return tuple(made)


def _is_path(seen: Survey, key: str) -> bool:
    return any(" > " in value for row in seen.rows[:200] for value in values_at(row.fields, key, 1))
