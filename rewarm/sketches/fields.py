"""The expressions inside of an f-string, found in its text.

Before Python 3.12 the tree has wrong places for them, and the tokens have none.
"""

from __future__ import annotations

from collections.abc import Iterator

from rewarm.sketches.literals import opening
from rewarm.sketches.source import NO_TOKENS, Unsketchable

Field = tuple[int, str]
"""Where an expression starts, and its text."""


def fields(literal: str) -> Iterator[Field]:
    """The expressions of one f-string with its quotes; those of a format are among them, those of inner strings not."""
    reader = _Reader(literal)
    reader.string(0)
    yield from sorted(reader.found)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[Field] = []

    def string(self, place: int, inner: bool = False) -> int:
        """Reads the string that starts at a place; where it ends."""
        prefix, quotes = opening(self.text[place : place + 6])
        has_fields = "f" in prefix.lower() or "t" in prefix.lower()
        is_raw = "r" in prefix.lower()
        place += len(prefix) + len(quotes)
        while not self._at(place, quotes):
            self._inside(place)
            if self.text[place] == "\\":
                place = self._escaped(place, is_raw, has_fields)
            elif has_fields and self.text[place] == "{" and not self._at(place, "{{"):
                place = self._field(place + 1, inner)
            else:
                place += 2 if has_fields and self._at(place, "{{") else 1
        return place + len(quotes)

    def _at(self, place: int, word: str) -> bool:
        return self.text.startswith(word, place)

    def _inside(self, place: int) -> None:
        if place >= len(self.text):
            raise Unsketchable(NO_TOKENS, f"the f-string {self.text[:40]!r}")

    def _escaped(self, place: int, is_raw: bool, has_fields: bool) -> int:
        if has_fields and self._at(place + 1, "{"):
            return place + 1
        if has_fields and not is_raw and self._at(place + 1, "N{"):
            return self.text.index("}", place) + 1
        return place + 2

    def _field(self, start: int, inner: bool) -> int:
        """Reads the field whose `{` stands before `start`; where it ends."""
        place = self._expression(start)
        expression = self.text[start:place]
        shown = expression.rstrip()
        if shown.endswith("=") and shown[-2:] not in ("==", "!=", "<=", ">="):
            expression = shown[:-1]
        if not inner:
            self.found.append((start, expression))
        while self.text[place] not in ":}":
            place += 1
            self._inside(place)
        while self.text[place] != "}":
            place = self._field(place + 1, inner) if self.text[place] == "{" else place + 1
            self._inside(place)
        return place + 1

    def _expression(self, place: int) -> int:
        """The end of the expression at a place."""
        depth = 0
        while True:
            self._inside(place)
            character = self.text[place]
            if character in "\"'":
                place = self._inner_string(place)
                continue
            ends = character in ":}" or (character == "!" and not self._at(place, "!="))
            if not depth and ends:
                return place
            depth += (character in "([{") - (character in ")]}")
            place += 1

    def _inner_string(self, place: int) -> int:
        start = place
        while start and self.text[start - 1].isalpha():
            start -= 1
        return self.string(start if place - start <= 2 else place, inner=True)
