"""The rows of a source's files, one after the other: JSON lines, JSON documents, Parquet and delimited text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rewarm.corpora import faults, parquet, paths
from rewarm.corpora.json_rows import lines
from rewarm.corpora.jsonl import parsed
from rewarm.corpora.streams import CutShort, line_blocks, opened, whole
from rewarm.records import delimited
from rewarm.records.spec import Source
from rewarm.types import BadRows, UserError

_KINDS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".parquet": "parquet",
}  # fmt: skip
_DOCUMENT_BYTES = 1_000_000_000
KEY = "_key"
"""The field that holds a record's key where a JSON document has records as the values of a mapping."""


class Row(NamedTuple):
    """A row's fields; `name` is `<file>:<number>` with the file's path in the source, `place` with its whole path."""

    fields: Mapping[str, Any]
    name: str
    place: str


def files(source: Source) -> list[tuple[Path, str]]:
    """The files of a source with their names in it, sorted; UserError when there are none."""
    patterns = [os.path.expanduser(one) for one in ([source.path] if isinstance(source.path, str) else source.path)]
    found = paths.expand(patterns, paths.FolderRule(frozenset(_KINDS)))
    root = paths.root(patterns)
    return [(file, paths.printable(os.path.relpath(file, root))) for file in found]


def rows(source: Source, bad: BadRows) -> Iterator[Row]:
    """Every row that can be read; every row is counted in `bad`, and bad ones with their reason and place."""
    for file, name in files(source):
        place = paths.printable(file)
        kind = source.kind or _KINDS.get(paths.suffix_of(file.name))
        if kind is None:
            raise UserError(f"'{file}': give 'kind' for this suffix: {', '.join(sorted(set(_KINDS.values())))}")
        try:
            for number, fields, reason in _rows(file, kind, source):
                bad.rows += 1
                if isinstance(fields, dict):
                    yield Row(fields, f"{name}:{number}", f"{place}:{number}")
                else:
                    bad.add(reason or faults.NOT_AN_OBJECT, f"{place}:{number}")
        except CutShort:
            bad.rows += 1
            bad.add(faults.TRUNCATED_FILE, place)


def _rows(file: Path, kind: str, source: Source) -> Iterator[tuple[int, Any, str]]:
    if kind == "parquet":
        return _parquet(file)
    if kind in ("csv", "tsv"):
        delimiter = source.delimiter or ("," if kind == "csv" else "\t")
        return iter(delimited.rows(file, delimiter, source.max_row_bytes))
    if kind == "json" and (source.under is not None or not _is_lines(file)):
        return _document(file, source.under)
    return lines(file, source.max_row_bytes)


def _is_lines(file: Path) -> bool:
    """Whether the first line is a whole JSON object, so that the file is lines whatever its name says."""
    for _, block in line_blocks(file, _DOCUMENT_BYTES):
        for line in block:
            if line is not None and line.strip():
                return type(parsed(line)[0]) is dict
    return True


def _document(file: Path, under: str | None) -> Iterator[tuple[int, Any, str]]:
    """The records in one JSON document, of at most 1 GB: items of a list, or values of a mapping with their keys."""
    data = whole(file, _DOCUMENT_BYTES)
    if data is None:
        yield 1, None, faults.ROW_TOO_LONG
        return
    value, reason = parsed(data)
    for key in under.split(".") if under is not None else ():
        value = value.get(key) if isinstance(value, dict) else None
        reason = f"nothing under '{under}'"
    if isinstance(value, dict):
        value = [{KEY: key, **item} if isinstance(item, dict) else item for key, item in value.items()]
    if not isinstance(value, list):
        yield 1, None, reason
        return
    for number, item in enumerate(value, 1):
        yield number, item, faults.NOT_AN_OBJECT


def _parquet(file: Path) -> Iterator[tuple[int, Any, str]]:
    # Costs 0.1 s, which every command would pay that only looks a spec up.
    import pyarrow
    import pyarrow.parquet

    with opened(file) as source:
        try:
            names = pyarrow.parquet.ParquetFile(source).schema_arrow.names
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError):
            raise CutShort from None
    for number, row in enumerate(parquet.rows(file, names[0], names) if names else (), 1):
        yield number, row, faults.NOT_UTF8
