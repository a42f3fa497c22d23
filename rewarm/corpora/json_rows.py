"""Rows with named fields from lines of JSON, a JSON array or Parquet: one after the other, in bounded memory."""

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rewarm.corpora import faults, paths
from rewarm.corpora.jsonl import parsed
from rewarm.corpora.parquet import rows as parquet_rows
from rewarm.corpora.streams import CutShort, blocks, line_blocks

SUFFIXES = frozenset({".jsonl", ".ndjson", ".json", ".parquet"})
Found = tuple[int, dict[str, Any] | None, str]
"""The number of a row (that of its line, or of the element), and its fields, or None and what is wrong with it."""

_GAP = re.compile(r"[\s,]*")


def rows_of(file: Path, fields: Sequence[str], max_row_bytes: int) -> Iterator[Found]:
    """The rows of a file; of Parquet only those of the `fields` that it has.

    Number 0 stands for the file as a whole: it ends early or is damaged, and what came before the fault was given out.
    An array of JSON is read up to its first broken element.
    """
    try:
        if paths.suffix_of(file.name) == ".parquet":
            yield from _parquet(file, fields)
        elif is_array(file):
            yield from _array(file, max_row_bytes)
        else:
            yield from lines(file, max_row_bytes)
    except CutShort:
        yield 0, None, faults.TRUNCATED_FILE


def is_array(file: Path) -> bool:
    """Whether a `.json` file holds one array, and not lines."""
    for block in blocks(file) if paths.suffix_of(file.name) == ".json" else ():
        start = block.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start:
            return start.startswith(b"[")
    return False


def lines(file: Path, max_row_bytes: int) -> Iterator[Found]:
    """The rows of a file with one JSON object a line; CutShort when it ends early."""
    for first, block in line_blocks(file, max_row_bytes):
        for number, line in enumerate(block, first):
            if line is None:
                yield number, None, faults.ROW_TOO_LONG
            elif line and not line.isspace():
                value, reason = parsed(line)
                yield number, value if type(value) is dict else None, reason


def _parquet(file: Path, fields: Sequence[str]) -> Iterator[Found]:
    # Costs 0.1 s, which every command would pay that only looks a corpus up by name.
    import pyarrow
    import pyarrow.parquet

    try:
        there = set(pyarrow.parquet.read_schema(file).names)
    except (pyarrow.ArrowException, OSError):
        raise CutShort from None
    known = [field for field in fields if field in there]
    for number, row in enumerate(parquet_rows(file, known[0] if known else "", known), 1):
        yield number, row, faults.NOT_UTF8


def _array(file: Path, max_row_bytes: int) -> Iterator[Found]:
    """The elements of an array, parsed one by one from a window of the file."""
    decoder, parser = codecs.getincrementaldecoder("utf-8-sig")(), json.JSONDecoder()
    pieces = blocks(file)
    text, place, number, begun = "", 0, 0, False
    try:
        while True:
            gap = _GAP.match(text, place)
            place = gap.end() if gap is not None else place
            if not begun and text[place : place + 1] == "[":
                begun, place = True, place + 1
                continue
            if begun and text[place : place + 1] == "]":
                return
            try:
                value, end = parser.raw_decode(text, place) if begun else (None, 0)
            except json.JSONDecodeError:
                end = 0
            if end:
                number, place = number + 1, end
                yield number, *_whole(value)
                continue
            # As much again as there is: a long element is then parsed a few times and not once for every block.
            text, place = text[place:], 0
            more = _more(pieces, decoder, len(text))
            if not more or len(text) > max_row_bytes:
                yield number + 1, None, faults.ROW_TOO_LONG if more else faults.BROKEN_JSON
                return
            text += more
    except (UnicodeDecodeError, RecursionError) as error:
        yield number + 1, None, faults.NOT_UTF8 if isinstance(error, UnicodeDecodeError) else faults.BROKEN_JSON


def _more(pieces: Iterator[bytes], decoder: codecs.IncrementalDecoder, least: int) -> str:
    found: list[str] = []
    size = 0
    while not found or size < least:
        block = next(pieces, None)
        if block is None:
            break
        found.append(decoder.decode(block))
        size += len(found[-1])
    return "".join(found)


def _whole(value: Any) -> tuple[dict[str, Any] | None, str]:
    """An element as a row: Python's parser takes halves of surrogate pairs, which no encoding can write."""
    if type(value) is not dict:
        return None, faults.NOT_AN_OBJECT
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return None, faults.LONE_SURROGATE
    return value, ""
