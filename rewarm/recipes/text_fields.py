"""Which field of a file's rows holds the text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from rewarm.corpora.streams import CutShort, line_blocks

SAMPLE_ROWS = 50
LONGEST_ROW = 64_000_000


def text_fields(kind: str, file: Path) -> list[str]:
    """Fields of the first rows that hold text, `text` first if it does in most of them, then by mean length.

    Empty for a `kind` of corpus that has no rows with fields.
    """
    readers = {"jsonl": _json_rows, "parquet": _parquet_rows}
    if kind not in readers:
        return []
    rows = list(islice(readers[kind](file), SAMPLE_ROWS))
    lengths: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str) and value.strip():
                lengths[name] = lengths.get(name, 0) + len(value)
    found = sorted(lengths, key=lambda name: -lengths[name])
    usual = sum(isinstance(row.get("text"), str) for row in rows) * 2 > len(rows)
    return ["text", *(name for name in found if name != "text")] if usual else found


def _json_rows(file: Path) -> Iterable[Mapping[str, Any]]:
    try:
        for _, lines in line_blocks(file, LONGEST_ROW):
            for line in lines:
                try:
                    row = orjson.loads(line) if line else None
                except orjson.JSONDecodeError:
                    continue
                if isinstance(row, dict):
                    yield row
    except CutShort:
        return


def _parquet_rows(file: Path) -> Iterable[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        for batch in table.iter_batches(SAMPLE_ROWS):
            yield from batch.to_pylist()
    except pyarrow.ArrowException:
        return
