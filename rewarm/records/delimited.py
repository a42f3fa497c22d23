"""Rows of delimited text, one line of names first. A quote that is never closed costs one line and not the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rewarm.corpora import faults
from rewarm.corpora.streams import line_blocks
from rewarm.types import UserError

BROKEN_QUOTES = "broken quotes"
COLUMNS_DIFFER = "other number of columns than the first line"
_MOST_QUOTED_BYTES = 64_000
"""A value in quotes may run over so many bytes; beyond, its quote is taken for one that was never closed."""


class Line(NamedTuple):
    """A row by its first line's number, or why it cannot be read."""

    number: int
    fields: dict[str, str] | None
    reason: str = ""


def rows(file: Path, delimiter: str, max_row_bytes: int) -> Iterator[Line]:
    """Every row after the first line, good or bad. CutShort where a packed file is damaged.

    UserError when the first line has no names, an empty one or one twice.
    """
    lines = _Lines(file, max_row_bytes)
    names: list[str] | None = None
    while (first := lines.next()) is not None:
        number, text = first
        if text is not None and not text.strip():
            continue
        values, reason = (None, lines.fault) if text is None else _values(lines, number, text, delimiter)
        if names is None:
            names = _names(file, values)
        elif values is None:
            yield Line(number, None, reason)
        elif len(values) != len(names):
            yield Line(number, None, COLUMNS_DIFFER)
        else:
            yield Line(number, dict(zip(names, values, strict=True)))


def _names(file: Path, values: list[str] | None) -> list[str]:
    names = [value.strip() for value in values or ()]
    if not names or not all(names) or len(set(names)) < len(names):
        raise UserError(f"'{file}' must begin with a line of names, each once and none empty; it begins with {names}")
    return names


def _values(lines: _Lines, number: int, text: str, delimiter: str) -> tuple[list[str] | None, str]:
    """The values of the row that begins with `text`; None and why, with the lines after the first put back."""
    read: list[tuple[int, str | None]] = []

    def record() -> Iterator[str]:
        yield f"{text}\n"
        size = len(text)
        while size <= _MOST_QUOTED_BYTES and (more := lines.next()) is not None:
            read.append(more)
            if more[1] is None:
                return
            size += len(more[1])
            yield f"{more[1]}\n"

    try:
        return next(csv.reader(record(), delimiter=delimiter, strict=True)), ""
    except csv.Error:
        lines.put_back(read)
        return None, BROKEN_QUOTES


class _Lines:
    """Lines of a file as text, which can be put back; None for one that is too long or not UTF-8, as `fault` says."""

    def __init__(self, file: Path, max_row_bytes: int) -> None:
        self.fault = ""
        self._waiting: deque[tuple[int, str | None]] = deque()
        self._lines = self._read(file, max_row_bytes)

    def next(self) -> tuple[int, str | None] | None:
        found = self._waiting.popleft() if self._waiting else next(self._lines, None)
        return found

    def put_back(self, lines: list[tuple[int, str | None]]) -> None:
        self._waiting.extendleft(reversed(lines))

    def _read(self, file: Path, max_row_bytes: int) -> Iterator[tuple[int, str | None]]:
        for first, block in line_blocks(file, max_row_bytes):
            for number, line in enumerate(block, first):
                try:
                    if line is not None:
                        yield number, line.decode("utf-8").removesuffix("\r")
                        continue
                    self.fault = faults.ROW_TOO_LONG
                except UnicodeDecodeError:
                    self.fault = faults.NOT_UTF8
                yield number, None
