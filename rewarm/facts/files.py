"""What sources of facts and sets of probes have in common: files behind a path, and rows with named fields in them."""

from __future__ import annotations

import csv
import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PosixPath
from typing import IO, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from rewarm.corpora import faults, paths
from rewarm.corpora.jsonl import parsed
from rewarm.corpora.sources import Name
from rewarm.corpora.streams import CutShort, line_blocks
from rewarm.facts import Tally, reject
from rewarm.methods import Method
from rewarm.types import BadRows, UserError

WRONG_FIELDS = "wrong number of fields"
BROKEN_CSV = "broken CSV"
MAX_ROW_BYTES = 64_000_000
TABLES = {".csv": ",", ".tsv": "\t"}
LINES = frozenset({".jsonl", ".ndjson", ".json"})


def _as_written(value: Any) -> Any:
    is_date = isinstance(value, int | datetime.date) and not isinstance(value, bool)
    return str(value) if is_date else value


Written = Annotated[str, BeforeValidator(_as_written)]
"""A date as people write it: YAML makes a number of 2021 and a date of 2021-01-03."""

Row = tuple[Mapping[str, Any], str]
"""The fields of a row, and its place, `file:line`."""


class InFiles(Method):
    """A method that reads files. `path` is a file, a folder or a pattern, or a list of these."""

    suffixes_read: ClassVar[frozenset[str]] = LINES | frozenset(TABLES)

    path: Name | Annotated[tuple[Name, ...], Field(min_length=1)]

    def files(self) -> list[Path]:
        """The files read, sorted by path, each once; UserError for a path that gives none."""
        given = [self.path] if isinstance(self.path, str) else self.path
        return paths.expand([os.path.expanduser(one) for one in given], paths.FolderRule(self.suffixes_read))


class _Followed(PosixPath):
    """A path that knows how far the file opened last has been read, packed as it lies on the disk."""

    def open(self, *arguments: Any, **named: Any) -> Any:
        """The file, which `position` then follows."""
        self._file: IO[Any] = super().open(*arguments, **named)
        return self._file

    def position(self) -> int:
        """Bytes read of it."""
        return 0 if self._file.closed else self._file.tell()


def lines(files: Sequence[Path], bad: BadRows, what: str = "read") -> Iterator[tuple[bytes, str, int]]:
    """Every line that is not blank: its bytes, the file as it is printed, and its number.

    A line that is too long, and a packed file that ends early, are each counted as a bad row. A `Tally` is told how
    many bytes have been read since it was made.
    """
    before = bad.bytes_read if isinstance(bad, Tally) else 0
    for file in files:
        followed, name = _Followed(file), paths.printable(file)
        try:
            for first, block in line_blocks(followed, MAX_ROW_BYTES):
                if isinstance(bad, Tally):
                    bad.bytes_read = before + followed.position()
                    bad.watch(what, bad.bytes_read)
                for number, line in enumerate(block, first):
                    if line is None:
                        reject(bad, faults.ROW_TOO_LONG, f"{name}:{number}")
                    elif line and not line.isspace():
                        yield line, name, number
        except CutShort:
            reject(bad, faults.TRUNCATED_FILE, name)
        before += file.stat().st_size
        if isinstance(bad, Tally):
            bad.bytes_read = before


def rows(files: Sequence[Path], bad: BadRows, columns: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of tables (`.csv`, `.tsv`) and of files with one JSON object a line, in order; bad ones are counted.

    A good row is not counted: whoever reads it does, for it may hold several facts. The first row of a table names its
    fields, unless `columns` does. UserError for a table whose header is empty or broken.
    """
    for file in files:
        separator = TABLES.get(paths.suffix_of(file.name))
        if separator is None:
            yield from _objects(file, bad)
        else:
            yield from _table(file, separator, columns, bad)


def _objects(file: Path, bad: BadRows) -> Iterator[Row]:
    for line, name, number in lines([file], bad):
        row, reason = parsed(line)
        if type(row) is dict:
            yield row, f"{name}:{number}"
        else:
            reject(bad, reason, f"{name}:{number}")


def _table(file: Path, separator: str, columns: Sequence[str], bad: BadRows) -> Iterator[Row]:
    """Rows of a table. A quoted field may hold line ends in CSV; TSV knows no quotes."""
    name = paths.printable(file)
    # What is not UTF-8 becomes half surrogates, so that only its own row is bad and quotes are still seen.
    texts = (f"{line.decode('utf-8', 'surrogateescape')}\n" for line, _, _ in lines([file], bad))
    quotes = '"' if separator == "," else None
    reader = csv.reader(
        texts,
        delimiter=separator,
        quotechar=quotes,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    heads = list(columns)
    while True:
        before = reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if not heads:
                raise UserError(f"'{name}': the row that names the fields is broken: {error}. Mend it") from None
            # A quote that is never closed takes the rows after it with it: each of them is lost, so each counts.
            for number in range(before + 1, reader.line_num + 1):
                reject(bad, BROKEN_CSV, f"{name}: row {number}")
            continue
        if cells is None:
            return
        place = f"{name}: row {reader.line_num}"
        if not heads:
            heads = [cell.strip() for cell in cells]
            if not any(heads):
                raise UserError(f"'{name}': the first row names no field. Give the names of the fields in columns")
        elif len(cells) != len(heads):
            reject(bad, WRONG_FIELDS, place)
        elif any("\udc80" <= character <= "\udcff" for cell in cells if not cell.isascii() for character in cell):
            reject(bad, faults.NOT_UTF8, place)
        else:
            yield dict(zip(heads, cells, strict=True)), place


def words(value: Any) -> str:
    """A name as people read it, on one line without blanks at its ends; "" for what is no text and no number."""
    if isinstance(value, str):
        return " ".join(value.split())
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def several(value: Any) -> list[Any]:
    """The values of a field that may hold one value or a list of them."""
    return value if isinstance(value, list) else [value]
