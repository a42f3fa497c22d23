"""A JSON dump of Wikidata: the claims whose value is another item.

The dump is one entity a line, 100 GB packed and more. It is read twice, as a stream: first for the labels of what facts
are about, which are kept on disk beside the dump, then for the facts. A stopped first reading goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson

from rewarm.corpora import faults
from rewarm.corpora.sources import Name
from rewarm.facts import Fact, Snapshot, Tally, leave_out, reject
from rewarm.facts.files import InFiles, Written, lines, several, words
from rewarm.facts.labels import Labels, LabelWriter, read_state
from rewarm.types import BadRows, UserError

SAVE_EVERY = 200_000
"""Lines between two saves of the labels: half a minute of a dump, a tenth of a second of writing."""
END_TIME = "P582"
_ANY_LANGUAGE = "mul"  # names that are the same in all languages stand here only, since 2025


class Wikidata(InFiles, Snapshot):
    """Facts from a dump (`.json`, also packed), named in one `language`.

    A claim is a fact when its value is an item and its rank is the best that its property has for the subject
    (`ranks: all` takes normal beside preferred ones); deprecated ones never are, nor ones that have ended, unless
    `ended` is true. `properties` names the ones wanted; `articles_only` leaves out subjects with none in `site`.
    `labels` is the folder of the labels, beside the dump if not given. `property_labels` is a JSON file such as
    {"P36": "capital"}; without it their labels come from the dump. Every claim is counted as a row.
    """

    paper: ClassVar[str] = "TemporalWiki, arXiv 2204.14211"
    suffixes_read: ClassVar[frozenset[str]] = frozenset({".json", ".jsonl", ".ndjson"})
    passes: ClassVar[int] = 2

    language: Name = "en"
    site: Name | None = None
    properties: tuple[Name, ...] = ()
    ranks: Literal["best", "all"] = "best"
    ended: bool = False
    articles_only: bool = False
    labels: Name | None = None
    property_labels: Name | None = None
    date: Written = ""

    def held(self) -> str:
        """The date of the dump."""
        return self.date

    def read(self, bad: BadRows) -> Iterator[Fact]:
        """Every good fact in the order of the dump; the labels are read first, unless they are on disk."""
        yield from self._read(self._labels(bad), bad)

    def sample(self, bad: BadRows) -> Iterator[Fact]:
        """The facts with numbers for the names of objects: their labels would have to be written first."""
        yield from self._read(None, bad)

    def _read(self, labels: Labels | None, bad: BadRows) -> Iterator[Fact]:
        properties = (labels.named if labels else {}) | self._given_properties()
        for entity, place in _entities(self.files(), bad):
            yield from self._facts(entity, labels, properties, place, bad)

    def _facts(
        self, entity: Mapping[str, Any], labels: Labels | None, properties: Mapping[str, str], place: str, bad: BadRows
    ) -> Iterator[Fact]:
        claims = entity.get("claims")
        if not isinstance(claims, dict):  # an entity without claims has a list here
            return
        title = self._title(entity)
        subject = _label(entity, self.language)
        reason = (
            "not an item" if not str(entity.get("id")).startswith("Q")
            else "subject without an article" if self.articles_only and not title
            else "" if subject else "subject without a label"
        )  # fmt: skip
        for relation_id, given in claims.items():
            statements = [statement for statement in several(given) if isinstance(statement, dict)]
            if reason or (self.properties and relation_id not in self.properties):
                leave_out(bad, reason or "another property", len(statements))
                continue
            best = any(statement.get("rank") == "preferred" for statement in statements) and self.ranks == "best"
            for statement in statements:
                object_id, fault = self._object(statement, best)
                text = labels.label(int(object_id[1:])) if object_id and labels else object_id
                if not text:
                    leave_out(bad, fault or "object without a label")
                    continue
                bad.rows += 1
                relation = properties.get(relation_id, relation_id)
                yield Fact(subject, relation, text, str(entity["id"]), object_id, place, title)

    def _object(self, statement: Mapping[str, Any], best: bool) -> tuple[str, str]:
        """The id of the item that is a statement's value, or why it is no fact."""
        value: Any = statement
        for key in ("mainsnak", "datavalue", "value", "id"):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str) or not value.startswith("Q") or not value[1:].isdecimal():
            return "", "value is not an item"
        rank = statement.get("rank")
        if rank == "deprecated":
            return "", "deprecated"
        if best and rank != "preferred":
            return "", "a better rank exists"
        if not self.ended and END_TIME in (statement.get("qualifiers") or ()):
            return "", "ended"
        return value, ""

    def _title(self, entity: Mapping[str, Any]) -> str:
        links = entity.get("sitelinks")
        link = links.get(self.site or f"{self.language}wiki") if isinstance(links, dict) else None
        return words(link.get("title")) if isinstance(link, dict) else ""

    def _given_properties(self) -> dict[str, str]:
        if self.property_labels is None:
            return {}
        try:
            given = json.loads(Path(self.property_labels).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"property_labels '{self.property_labels}' cannot be read: {error}") from None
        if not isinstance(given, dict):
            raise UserError(
                f"property_labels '{self.property_labels}': give one JSON object such as {{'P36': 'capital'}}"
            )
        return {name: words(label) for name, label in given.items()}

    def _labels(self, bad: BadRows) -> Labels:
        """The labels of the dump, read now unless they are on disk."""
        files = self.files()
        known = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
        key = json.dumps([self.language, known])
        folder = Path(self.labels).expanduser() if self.labels else files[0].with_name(f"{files[0].name}.labels")
        folder = folder / self.language
        state = read_state(folder)
        if state.get("key") != key or not state.get("complete"):
            with LabelWriter(folder, key).opened() as writer:
                self._write_labels(writer, files, Tally(watch=bad.watch) if isinstance(bad, Tally) else BadRows())
        return Labels(folder)

    def _write_labels(self, writer: LabelWriter, files: list[Path], read: BadRows) -> None:
        seen = begun = writer.done
        for seen, (line, _, _) in enumerate(lines(files, read, "read labels"), 1):
            # What an earlier reading kept is unpacked again, but not parsed, which takes most of the time.
            if seen <= begun:
                continue
            entity = _entity(line)
            label = _label(entity, self.language) if entity else ""
            if entity and label:
                name = str(entity.get("id"))
                if name.startswith("P"):
                    writer.named[name] = label
                elif name[1:].isdecimal():
                    writer.add(int(name[1:]), label)
            if seen % SAVE_EVERY == 0:
                writer.save(seen)
        writer.save(seen, complete=True)


def _entity(line: bytes) -> dict[str, Any] | None:
    """The entity of a line of a dump, which ends with a comma but for the last; None for what is none."""
    try:
        entity = orjson.loads(line.strip().rstrip(b","))
    except orjson.JSONDecodeError:
        return None
    return entity if isinstance(entity, dict) else None


def _entities(files: list[Path], bad: BadRows) -> Iterator[tuple[dict[str, Any], str]]:
    for line, name, number in lines(files, bad):
        if line.strip() in (b"[", b"]"):
            continue
        entity = _entity(line)
        if entity is None:
            reject(bad, faults.BROKEN_JSON, f"{name}:{number}")
        else:
            yield entity, f"{name}:{number}"


def _label(entity: Mapping[str, Any], language: str) -> str:
    """The name of an entity in a language, or the one that it has in all; "" where it has neither."""
    labels = entity.get("labels")
    if not isinstance(labels, dict):
        return ""
    found = labels.get(language) or labels.get(_ANY_LANGUAGE) or {}
    return words(found.get("value"))
