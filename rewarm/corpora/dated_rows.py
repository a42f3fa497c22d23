"""The rows of a corpus with the period that each lies in, whole as they are written."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psutil

from rewarm.corpora import Corpus, faults, paths
from rewarm.corpora.dates import Period, period_of
from rewarm.corpora.jsonl import Jsonl, parsed
from rewarm.corpora.sources import FieldCorpus
from rewarm.corpora.streams import CutShort, line_blocks
from rewarm.types import BadRows, Document, UserError


class DatedRow(NamedTuple):
    """A row as a line of JSON without its end; `place` is `file:line`."""

    period: str
    line: bytes
    place: str


@dataclass(slots=True)
class Reading:
    """Dated rows of a corpus, and how far the reading of its files is. Rows that have no date are counted in `bad`."""

    corpus: Corpus
    date_field: str
    by: Period
    bad: BadRows = field(default_factory=BadRows)
    files: list[Path] = field(init=False)
    sizes: list[int] = field(init=False)
    place: str = ""

    def __post_init__(self) -> None:
        """UserError for files that are not there, and for a corpus whose documents have no such field."""
        fields = getattr(self.corpus, "meta_fields", None)
        if not isinstance(self.corpus, FieldCorpus) and self.date_field not in (fields or ()):
            raise UserError(
                f"a corpus of type {self.corpus.method_name()} has no field '{self.date_field}': split dated rows, "
                "such as jsonl or parquet, or name one of its fields with --date-field"
                + (f" ({', '.join(fields)})" if fields else "")
            )
        self.files = self.corpus.files()
        self.sizes = [file.stat().st_size for file in self.files]

    def rows(self) -> Iterator[DatedRow]:
        """Every row with a readable date, in the order of the files. Those of jsonl are the very bytes of their lines.

        Rows of other types hold the text, the id if a field gives it, and the other fields: all of Parquet's.
        """
        limit = getattr(self.corpus, "limit", None)
        found = self._lines(self.corpus) if isinstance(self.corpus, Jsonl) else self._documents()
        for value, line, place in islice(found, limit):
            self.place = place
            self.bad.rows += 1
            period = period_of(value, self.by)
            if period is None:
                self.bad.add(faults.NO_DATE if value is None else faults.UNREADABLE_DATE, place)
            else:
                yield DatedRow(period, line, place)

    def bytes_read(self) -> int:
        """Bytes of the files that were read up to now, a little more than the rows given out stand in."""
        name = self.place.rpartition(":")[0]
        names = [paths.printable(file) for file in self.files]
        if name not in names:
            return 0
        at = names.index(name)
        opened = {os.path.realpath(file.path): getattr(file, "position", 0) for file in psutil.Process().open_files()}
        return sum(self.sizes[:at]) + min(self.sizes[at], int(opened.get(os.path.realpath(self.files[at]), 0)))

    def _lines(self, corpus: Jsonl) -> Iterator[tuple[Any, bytes, str]]:
        for file in self.files:
            name = paths.printable(file)
            try:
                for first, lines in line_blocks(file, corpus.max_row_bytes):
                    for number, line in enumerate(lines, first):
                        if line is None:
                            self._reject(faults.ROW_TOO_LONG, f"{name}:{number}")
                        elif line and not line.isspace():
                            yield from self._parsed(line, f"{name}:{number}")
            except CutShort:
                self._reject(faults.TRUNCATED_FILE, name)

    def _parsed(self, line: bytes, place: str) -> Iterator[tuple[Any, bytes, str]]:
        row, reason = parsed(line)
        if type(row) is dict:
            yield row.get(self.date_field), line.rstrip(b"\r"), place
        else:
            self._reject(reason, place)

    def _documents(self) -> Iterator[tuple[Any, bytes, str]]:
        corpus = self.corpus
        if isinstance(corpus, FieldCorpus):
            fields = dict.fromkeys((*corpus.keep_fields, *_columns(corpus, self.files), self.date_field))
            fields.pop(corpus.text_field, None)
            corpus = corpus.model_copy(update={"keep_fields": tuple(fields), "limit": None})
        unread = BadRows()
        for document in corpus.read(unread):
            yield document.meta.get(self.date_field), orjson.dumps(_row(corpus, document), default=str), document.place
        # Its good rows are counted where their dates are read.
        self.bad.rows += unread.total
        self.bad.counts.update(unread.counts)
        self.bad.examples |= unread.examples

    def _reject(self, reason: str, place: str) -> None:
        self.bad.rows += 1
        self.bad.add(reason, place)


def _columns(corpus: FieldCorpus, files: list[Path]) -> list[str]:
    if corpus.method_name() != "parquet":
        return []
    import pyarrow.parquet

    return list(pyarrow.parquet.read_schema(files[0]).names)


def _row(corpus: Corpus, document: Document) -> dict[str, Any]:
    if isinstance(corpus, FieldCorpus):
        identity = {} if corpus.id_field is None else {corpus.id_field: document.id}
        return {**identity, corpus.text_field: document.text, **document.meta}
    return {"id": document.id, "text": document.text, **document.meta}
