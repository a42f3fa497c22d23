"""One JSON object per line, plain or packed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import orjson

from rewarm.corpora import faults, paths
from rewarm.corpora.rows import RowReader
from rewarm.corpora.sources import FieldCorpus, FileCorpus
from rewarm.corpora.streams import CutShort, line_blocks
from rewarm.quantities import Count
from rewarm.types import BadRows, Document


class Jsonl(FileCorpus, FieldCorpus):
    """Documents from lines of JSON (`.jsonl`, `.ndjson`, `.json`, each also `.gz`, `.bz2` or `.zst`).

    Lines end with \\n or \\r\\n; a blank line is no row. Without `id_field`, the id is `<file name>:<line>`. A line
    longer than `max_row_bytes` is a bad row and is skipped without being held. A packed file that ends early counts
    as one bad row; the documents before the fault are kept and the next file is read. NaN and Infinity, which JSON
    does not know and Python writes, are read.
    """

    suffixes_read: ClassVar[frozenset[str]] = frozenset({".jsonl", ".ndjson", ".json"})

    max_row_bytes: Count = 64_000_000

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        reader = RowReader(self.text_field, self.id_field, self._meta_fields(), bad)
        for file, name in self._named_files():
            try:
                yield from self._rows(file, name, reader)
            except CutShort:
                reader.reject(faults.TRUNCATED_FILE, paths.printable(file))

    def _rows(self, file: Path, name: str, reader: RowReader) -> Iterator[Document]:
        place = paths.printable(file)
        for first, lines in line_blocks(file, self.max_row_bytes):
            for number, line in enumerate(lines, first):
                if line is None:
                    reader.reject(faults.ROW_TOO_LONG, f"{place}:{number}")
                    continue
                if not line or line.isspace():
                    continue
                row, reason = parsed(line)
                if type(row) is not dict:
                    reader.reject(reason, f"{place}:{number}")
                    continue
                document = reader.document(row, f"{name}:{number}", f"{place}:{number}")
                if document is not None:
                    yield document


def parsed(line: bytes) -> tuple[Any, str]:
    """The value of a line of JSON, and why it is bad if that is no object."""
    try:
        return orjson.loads(line), faults.NOT_AN_OBJECT
    except orjson.JSONDecodeError:
        return _second_look(line)


def _second_look(line: bytes) -> tuple[Any, str]:
    """The value of a line that strict JSON refuses, when only NaN or Infinity is wrong with it; else None and why."""
    try:
        text = line.decode("utf-8")
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        return None, faults.NOT_UTF8
    except UnicodeEncodeError:
        return None, faults.LONE_SURROGATE
    except (ValueError, RecursionError):
        return None, faults.BROKEN_JSON
    return value, faults.NOT_AN_OBJECT
