"""One fact a row: subject, relation, object.

Tables (`.csv`, `.tsv`) and lines of JSON, each also packed. TemporalWiki's probes and exports of SPARQL queries have
this form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rewarm.corpora.sources import Name
from rewarm.facts import Fact, Snapshot, reject
from rewarm.facts.files import InFiles, Written, rows, several, words
from rewarm.types import BadRows

NO_SUBJECT = "no subject"
NO_RELATION = "no relation"
NO_OBJECT = "no object"


class Triples(InFiles, Snapshot):
    """Facts from rows with a field for each part.

    `columns` names the fields of a table whose first row is a row. A list of objects is that many facts. Without
    `subject_id_field` and `object_id_field`, what has the same name is the same thing. `date` is when the facts held.
    """

    paper: ClassVar[str] = "TemporalWiki, arXiv 2204.14211 (its form of a fact)"

    subject_field: Name = "subject"
    relation_field: Name = "relation"
    object_field: Name = "object"
    subject_id_field: Name | None = None
    object_id_field: Name | None = None
    title_field: Name | None = None
    columns: tuple[Name, ...] = ()
    date: Written = ""

    def held(self) -> str:
        """When the facts held."""
        return self.date

    def read(self, bad: BadRows) -> Iterator[Fact]:
        """Every good fact in the order of the files; bad rows and the number of rows seen are counted in `bad`."""
        for row, place in rows(self.files(), bad, self.columns):
            if self._wanted(row, place, bad):
                yield from self._facts(row, place, bad)

    def _wanted(self, row: Mapping[str, Any], place: str, bad: BadRows) -> bool:
        return True

    def _facts(self, row: Mapping[str, Any], place: str, bad: BadRows) -> Iterator[Fact]:
        subject, relation = words(row.get(self.subject_field)), words(row.get(self.relation_field))
        if not subject or not relation:
            reject(bad, NO_RELATION if subject else NO_SUBJECT, place)
            return
        subject_id = self._named(row, self.subject_id_field) or subject
        title = self._named(row, self.title_field)
        objects = several(row.get(self.object_field))
        ids = several(row.get(self.object_id_field)) if self.object_id_field else []
        for number, value in enumerate(objects or [None]):
            text = words(value)
            if not text:
                reject(bad, NO_OBJECT, place)
                continue
            bad.rows += 1
            object_id = words(ids[number]) if len(ids) == len(objects) else ""
            yield Fact(subject, relation, text, subject_id, object_id or text, place, title)

    def _named(self, row: Mapping[str, Any], field: str | None) -> str:
        return words(row.get(field)) if field else ""
