"""Rows of Parquet files, one row group at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rewarm.corpora import faults, paths
from rewarm.corpora.rows import EVERY, RowReader
from rewarm.corpora.sources import FieldCorpus, FileCorpus
from rewarm.corpora.streams import CutShort, opened
from rewarm.quantities import Count
from rewarm.types import BadRows, Document

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_BATCH_BYTES = 8_000_000
_BATCH_ROWS = 4096


class Parquet(FileCorpus, FieldCorpus):
    """Documents from the rows of Parquet files (`.parquet`); only the columns that reach a document are decoded.

    Without `id_field`, the id is `<file name>:<row>`, counted from 1. A text of more than `max_row_bytes` bytes is a
    bad row. A damaged file counts as one bad row; the documents before the fault are kept and the next file is read.
    """

    suffixes_read: ClassVar[frozenset[str]] = frozenset({".parquet"})

    max_row_bytes: Count = 64_000_000

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        reader = RowReader(self.text_field, self.id_field, self._meta_fields(), bad)
        for file, name in self._named_files():
            place = paths.printable(file)
            try:
                for number, row in enumerate(rows(file, self.text_field, self._fields_read()), 1):
                    if row is None:
                        reader.reject(faults.NOT_UTF8, f"{place}:{number}")
                    elif self._too_long(row.get(self.text_field)):
                        reader.reject(faults.ROW_TOO_LONG, f"{place}:{number}")
                    elif document := reader.document(row, f"{name}:{number}", f"{place}:{number}"):
                        yield document
            except CutShort:
                reader.reject(faults.TRUNCATED_FILE, place)

    def _too_long(self, text: Any) -> bool:
        """A character takes 1 to 4 bytes, so hardly any text has to be encoded to be measured."""
        if not isinstance(text, str) or len(text) * 4 <= self.max_row_bytes:
            return False
        return len(text.encode()) > self.max_row_bytes


def rows(file: Path, text_field: str, fields: list[str]) -> Iterator[dict[str, Any] | None]:
    """The rows of a file with those of the `fields` it has; None for a row that is not UTF-8. CutShort when damaged."""
    # Costs 0.1 s, which every command would pay that only looks a corpus up by name.
    import pyarrow
    import pyarrow.parquet

    with opened(file) as source:
        try:
            # Without these two, a whole row group (often the whole file) is held packed and unpacked.
            table = pyarrow.parquet.ParquetFile(source, pre_buffer=False, buffer_size=1_000_000)
            names = table.schema_arrow.names
            columns = names if EVERY in fields else [name for name in fields if name in names]
            if text_field not in columns:
                yield from ({} for _ in range(table.metadata.num_rows))
                return
            for group in range(table.num_row_groups):
                size = _rows_per_batch(table.metadata.row_group(group))
                for batch in table.iter_batches(size, row_groups=[group], columns=columns):
                    yield from _batch_rows(batch)
        # The last is a column's name that is damaged; a text that is not UTF-8 is caught row by row.
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError):
            raise CutShort from None


def _rows_per_batch(group: "pyarrow.parquet.RowGroupMetaData") -> int:
    """From the size of whole rows: asking pyarrow 26 for the size of one column aborts the process on some damage."""
    bytes_per_row = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // bytes_per_row))


def _batch_rows(batch: "pyarrow.RecordBatch") -> Iterator[dict[str, Any] | None]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None
