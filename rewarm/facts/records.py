"""One row per subject, whose other fields are its relations: a table of facts, one a year or with a field of years."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rewarm.corpora.sources import Name
from rewarm.facts import Fact, Snapshot, leave_out, reject
from rewarm.facts.files import InFiles, Written, rows, several, words
from rewarm.facts.triples import NO_SUBJECT
from rewarm.types import BadRows, UserError

ANOTHER_TIME = "another time"
EMPTY = "empty field"
NOT_TEXT = "field is no text, number or list of them"


class Records(InFiles, Snapshot):
    """Facts from the fields of rows.

    `subject_field` names the subject; each of `relations`, or every field but those named elsewhere, is a relation.
    With `at`, only rows whose `date_field` is or begins with it count, such as `at: 2021`. `_` in the name of a field
    is read as a blank. A list is several objects. Each value is counted as a row.
    """

    subject_field: Name = "subject"
    subject_id_field: Name | None = None
    title_field: Name | None = None
    relations: tuple[Name, ...] = ()
    without_relations: tuple[Name, ...] = ()
    date_field: Name = "date"
    at: Written = ""
    columns: tuple[Name, ...] = ()

    def held(self) -> str:
        """The time chosen, if any."""
        return self.at

    def read(self, bad: BadRows) -> Iterator[Fact]:
        """Every good fact in the order of rows and fields; bad rows and values are counted in `bad`."""
        others = {self.subject_field, self.subject_id_field, self.title_field, self.date_field, *self.without_relations}
        unseen = set(self.relations)
        for row, place in rows(self.files(), bad, self.columns):
            unseen.difference_update(row)
            yield from self._facts(row, self.relations or [field for field in row if field not in others], place, bad)
        if unseen and bad.rows:
            raise UserError(
                f"relations: no row has a field {', '.join(map(repr, sorted(unseen)))}. Name fields of rows"
            )

    def _facts(self, row: Mapping[str, Any], fields: Any, place: str, bad: BadRows) -> Iterator[Fact]:
        subject = words(row.get(self.subject_field))
        if not subject:
            reject(bad, NO_SUBJECT, place)
            return
        if self.at and not words(row.get(self.date_field)).startswith(self.at):
            leave_out(bad, ANOTHER_TIME)
            return
        subject_id = words(row.get(self.subject_id_field)) if self.subject_id_field else ""
        title = words(row.get(self.title_field)) if self.title_field else ""
        for field in fields:
            relation = " ".join(field.replace("_", " ").split())
            for value in several(row.get(field)) or [None]:
                if value is None or (isinstance(value, str) and not words(value)):
                    leave_out(bad, EMPTY)
                elif text := words(value):
                    bad.rows += 1
                    yield Fact(subject, relation, text, subject_id or subject, text, place, title)
                else:
                    reject(bad, NOT_TEXT, f"{place}, field {field}")
