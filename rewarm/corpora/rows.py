"""From a row with named fields to a Document, or to a counted fault."""

from array import array
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from rewarm.corpora import faults
from rewarm.types import BadRows, Document

_ABSENT = object()
EVERY = "*"
"""Stands for every field of a row among those that are kept."""


class RowReader:
    """Checks the rows of one corpus and builds their documents; the only state is the ids seen.

    `id_field` None gives a row the id of its place. With an id field, 16 to 32 bytes are kept for every document.
    """

    def __init__(self, text_field: str, id_field: str | None, meta_fields: tuple[str, ...], bad: BadRows) -> None:
        self.text_field = text_field
        self.id_field = id_field
        self.meta_fields = meta_fields
        self.bad = bad
        self._seen = SeenIds()

    def document(self, row: Mapping[str, Any], name: str, place: str) -> Document | None:
        """The document of a row, whose id is `name` unless a field gives it; None for a bad row.

        Counts the row, and its fault when it is bad.
        """
        self.bad.rows += 1
        text = row.get(self.text_field, _ABSENT)
        reason = text_fault(text)
        if reason is None and self.id_field is not None:
            name, reason = self._identity(row.get(self.id_field))
        if reason is not None:
            self.bad.add(reason, place)
            return None
        if not self.meta_fields:
            return Document(name, text, place)
        fields = (field for field in row if field != self.text_field) if EVERY in self.meta_fields else self.meta_fields
        meta = {field: row[field] for field in fields if row.get(field) is not None}
        return Document(name, text, place, meta)

    def reject(self, reason: str, place: str) -> None:
        """Counts a row that gives no fields at all."""
        self.bad.rows += 1
        self.bad.add(reason, place)

    def _identity(self, given: Any) -> tuple[str, str | None]:
        if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
            return "", faults.NO_ID
        name = str(given)
        return name, None if self._seen.add(name) else faults.DUPLICATE_ID


def text_fault(text: Any) -> str | None:
    """What is wrong with the text of a row, or None."""
    if type(text) is not str:
        return faults.NO_TEXT_FIELD if text is _ABSENT else faults.TEXT_NOT_A_STRING
    if not text or text.isspace():
        return faults.EMPTY_TEXT
    if "\0" in text:
        return faults.NUL_CHARACTER
    return None


class SeenIds:
    """A set of ids as their 8-byte hashes, at 16 to 32 bytes per id; a set of integers takes three times that.

    Two different ids agree in their hash with a chance of 3e-8 among a million ids, 3e-4 among 100 million.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, name: str) -> bool:
        """Whether the id is new; it is not from now on."""
        # Slots hold 0 where they are free, so no hash may be 0.
        if not self._insert(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") or 1):
            return False
        self._count += 1
        if self._count * 2 > len(self._slots):
            hashes = self._slots
            self._slots = array("Q", bytes(2 * 8 * len(hashes)))
            for value in hashes:
                if value:
                    self._insert(value)
        return True

    def _insert(self, value: int) -> bool:
        slots = self._slots
        last = len(slots) - 1
        slot = value & last
        while slots[slot]:
            if slots[slot] == value:
                return False
            slot = (slot + 1) & last
        slots[slot] = value
        return True
