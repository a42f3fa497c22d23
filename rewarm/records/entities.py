"""A row -> an entity: its id and title, its nodes of text, and the values by which edges find it.

A node is a list of lines with the fields they come from. Each begins with the record's title where it has one, so that
a node can stand anywhere. Hashes are 64 bits of BLAKE2b: two of a million values agree with a chance of 3e-8.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rewarm.corpora import faults
from rewarm.hashing import seed_of
from rewarm.records.flattening import EMPTY, ID, TOO_MANY, Dropped, Flattener, Pair, scalar, values_at
from rewarm.records.reading import Row
from rewarm.records.spec import Edge, Source, Spec

ATTRIBUTES = "attributes"
_MOST_VALUES = 1000


class Line(NamedTuple):
    """The dotted key of a field and its line of text."""

    field: str
    text: str


class Node(NamedTuple):
    """A text of an entity: `head` is the line of its title ("" without), `kind` the field, or `attributes`."""

    kind: str
    head: str
    lines: list[Line]

    def ordered(self, *seed: int | str) -> list[Line]:
        """The lines in the order of a seed."""
        order = sorted(range(len(self.lines)), key=_keys(len(self.lines), seed).__getitem__)
        return [self.lines[place] for place in order]

    def text(self, lines: list[Line]) -> str:
        """The node as it is written, with its lines in the order given."""
        return "\n".join([self.head] * bool(self.head) + [line.text for line in lines])


def _keys(count: int, seed: tuple[int | str, ...]) -> list[float]:
    # Only `random()` is promised to give the same numbers in every version of Python.
    draw = random.Random(seed_of(*seed)).random
    return [draw() for _ in range(count)]


@dataclass(slots=True)
class Entity:
    """A record with its nodes. `ends` are what edges are made of: (name of the edge, role, hash), where the role is
    `same`, `from` (points at the record with that hash) or `to` (is found by it, whatever the edge)."""

    source: str
    id: str
    title: str
    nodes: list[Node]
    ends: list[tuple[str, str, int]] = field(default_factory=list)


class Maker:
    """Makes the entities of one source, whose `id`, `title` and `edges` are settled."""

    def __init__(self, name: str, spec: Spec, dropped: Dropped) -> None:
        self.name = name
        self.spec = spec
        self.dropped = dropped
        self.source: Source = spec.sources[name]
        self._own = {key for key in (self.source.id, self.source.title) if key is not None}
        # What links hold are ids.
        self._links = {
            edge.field for edge in self.source.edges or () if edge.kind == "link" or (edge.kind == "tree" and edge.to)
        } - {*self.source.keep, *self._own}
        self._targets = sorted(_targets(name, spec))
        self._texts = [key for key in self.source.texts if key not in self._own]
        self._flattener = Flattener(
            spec.most_items, spec.depth, frozenset(self.source.keep),
            frozenset(self.source.drop), frozenset({*self._own, *self._links, *self._texts}),
            None if self.source.fields is None else frozenset(self.source.fields),
            frozenset(self.source.flat), self.source.flat_separators,
        )  # fmt: skip

    def identity(self, row: Row) -> tuple[str, str]:
        """The id of a row, or "" and what is wrong with it."""
        if self.source.id is None:
            return row.name, ""
        given = _at(row.fields, self.source.id)
        if isinstance(given, bool) or not isinstance(given, str | int) or str(given).strip() == "":
            return "", faults.NO_ID
        return str(given), ""

    def entity(self, row: Row, name: str) -> Entity:
        """The entity of a row with the id `name`; it has no node where nothing of the row can be written."""
        title = self._title(row)
        head = f"{self._named(str(self.source.title))}: {title}" if title else ""
        pairs = self._flattener.pairs(row.fields, row.place, self.dropped)
        for key in {*self._links, *([self.source.id] if self.source.id else [])} - {str(self.source.title)}:
            if _at(row.fields, key) is not None:
                self.dropped.add(ID, f"{row.place} {key}")
        nodes = [Node(kind, head, [Line(kind, f"{self._named(kind)}: {text}")]) for kind, text in self._own_texts(row)]
        if pairs or (head and not nodes):
            lines = [Line(pair.key, self._line(name, title, pair)) for pair in pairs]
            nodes.insert(0, Node(ATTRIBUTES, head, lines))
        return Entity(self.name, name, title, nodes, list(self._ends(row, name)))

    def _title(self, row: Row) -> str:
        if self.source.title is None:
            return ""
        text, reason = scalar(_at(row.fields, self.source.title))
        if reason:
            self.dropped.add(f"title: {reason}", f"{row.place} {self.source.title}")
        return text

    def _own_texts(self, row: Row) -> Iterator[tuple[str, str]]:
        for key in self._texts:
            value = _at(row.fields, key)
            items = value if isinstance(value, list | tuple) else [value]
            for item in items[: self.spec.most_items]:
                text, reason = self._own_text(item, f"{row.place} {key}")
                if reason:
                    self.dropped.add(reason, f"{row.place} {key}")
                else:
                    yield key, text
            if len(items) > self.spec.most_items:
                self.dropped.add(TOO_MANY, f"{row.place} {key}", len(items) - self.spec.most_items)

    def _own_text(self, item: Any, place: str) -> tuple[str, str]:
        if isinstance(item, str):
            return _paragraphs(item)
        if not isinstance(item, Mapping):
            return scalar(item)
        pairs = Flattener(self.spec.most_items, self.spec.depth).pairs(item, place, self.dropped)
        return "; ".join(f"{pair.key}: {pair.value}" for pair in pairs), "" if pairs else EMPTY

    def _line(self, name: str, title: str, pair: Pair) -> str:
        template, share, key = self.spec.template, self.spec.template_share, self._named(pair.key)
        if template and title and seed_of(self.spec.seed, "template", self.name, name, pair.key) < share * 2**64:
            return template.replace("{key}", key).replace("{title}", title).replace("{value}", pair.value)
        return f"{key}: {pair.value}"

    def _named(self, key: str) -> str:
        """The key as it is written: under the new name of itself, or of the longest key above it that has one."""
        above = key
        while above and above not in self.source.rename:
            above = above.rpartition(".")[0]
        return (self.source.rename[above] + key[len(above) :]).strip(".") or key if above else key

    def _ends(self, row: Row, name: str) -> Iterator[tuple[str, str, int]]:
        for edge in self.source.edges or ():
            values = values_at(row.fields, edge.field, _MOST_VALUES)
            for value in values:
                yield from self._end(edge, value)
        for key in self._targets:
            values = [name] if key == "" else values_at(row.fields, key, _MOST_VALUES)
            yield from (("", "to", target(self.name, key, value)) for value in values)

    def _end(self, edge: Edge, value: str) -> Iterator[tuple[str, str, int]]:
        if edge.kind == "same":
            yield edge.title, "same", seed_of("same", edge.title, value)
        elif edge.kind == "tree" and edge.to is None:
            parts = [part.strip() for part in value.split(edge.separator.strip())]
            yield "", "to", seed_of("path", edge.title, *parts)
            if len(parts) > 1:
                yield edge.title, "from", seed_of("path", edge.title, *parts[:-1])
        else:
            source, _, key = (edge.to or self.name).partition(".")
            yield edge.title, "from", target(source, key, value)


def target(source: str, key: str, value: str) -> int:
    """The hash by which a record is found: by its id (`key` ""), or by the value of a field."""
    return seed_of("at", source, key, value)


def _targets(name: str, spec: Spec) -> set[str]:
    """The fields by which other records point at those of a source; "" is the id."""
    found = set()
    for other, source in spec.sources.items():
        for edge in source.edges or ():
            if edge.kind == "link" or (edge.kind == "tree" and edge.to is not None):
                there, _, key = (edge.to or other).partition(".")
                if there == name:
                    found.add(key)
    return found


def _at(fields: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key, or under a field of that very name; None where there is none."""
    if key in fields:
        return fields[key]
    value: Any = fields
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _paragraphs(text: str) -> tuple[str, str]:
    """A longer text with its line breaks, blank lines and outer blanks left out."""
    lines = [" ".join(line.split()) for line in text.replace("\0", " ").splitlines()]
    kept = "\n".join(line for line in lines if line)
    return (kept, "") if kept else ("", EMPTY)
