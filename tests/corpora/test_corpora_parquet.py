import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rewarm.corpora.parquet import Parquet
from rewarm.types import BadRows


def write(path: Path, columns: dict, **options) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def test_rows_of_all_row_groups_in_order(tmp_path, collect):
    texts = [f"text {number}" for number in range(25)]
    columns = {"text": texts, "year": list(range(25)), "book": ["b"] * 25, "unread": [0.5] * 25}
    file = write(tmp_path / "a.parquet", columns, row_group_size=10)
    documents, bad = collect(Parquet(path=str(file), keep_fields=("year",), holdout_by="book"))
    assert [document.text for document in documents] == texts
    assert documents[11].id == "a.parquet:12"
    assert documents[11].place == f"{file}:12"
    assert documents[11].meta == {"year": 11, "book": "b"}
    assert bad.total == 0


def test_faults_are_counted_with_their_places(tmp_path, collect):
    texts = ["good", "", None, "a\0b", "x" * 5000, "é" * 2049, "same id"]
    file = write(tmp_path / "a.parquet", {"text": texts, "id": [1, 2, 3, 4, 5, 6, 1]})
    documents, bad = collect(Parquet(path=str(file), id_field="id", max_row_bytes=4096))
    assert [document.id for document in documents] == ["1"]
    assert bad.examples == {
        "empty text": [f"{file}:2"],
        "text is not a string": [f"{file}:3"],
        "NUL character": [f"{file}:4"],
        "row longer than max_row_bytes": [f"{file}:5", f"{file}:6"],
        "duplicate id": [f"{file}:7"],
    }


def test_other_kinds_of_string_and_of_column(tmp_path, collect):
    for kind in (pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):
        file = write(tmp_path / "a.parquet", {"text": pyarrow.array(["a", "b", "a"], kind)})
        documents, _ = collect(Parquet(path=str(file)))
        assert [document.text for document in documents] == ["a", "b", "a"]
    _, bad = collect(Parquet(path=str(write(tmp_path / "a.parquet", {"text": [1, 2]}))))
    assert bad.counts == {"text is not a string": 2}
    _, bad = collect(Parquet(path=str(write(tmp_path / "a.parquet", {"body": ["a", "b"]}))))
    assert bad.examples == {"no text field": [f"{tmp_path}/a.parquet:1", f"{tmp_path}/a.parquet:2"]}


def test_row_that_is_not_utf8_costs_only_itself(tmp_path, collect):
    raw = pyarrow.array([b"one", b"caf\xe9", b"three"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())
    file = write(tmp_path / "a.parquet", {"text": text})
    documents, bad = collect(Parquet(path=str(file)))
    assert [document.text for document in documents] == ["one", "three"]
    assert bad.examples == {"not UTF-8": [f"{file}:2"]}


@pytest.mark.parametrize("kept", [0, 3, 0.5, -1])
def test_truncated_file_is_one_bad_row_and_the_next_file_is_read(tmp_path, collect, kept):
    content = write(tmp_path / "a.parquet", {"text": [str(number) for number in range(1000)]}).read_bytes()
    end = int(kept * len(content)) if isinstance(kept, float) else kept if kept >= 0 else len(content) + kept
    (tmp_path / "a.parquet").write_bytes(content[:end])
    write(tmp_path / "b.parquet", {"text": ["the next file"]})
    documents, bad = collect(Parquet(path=str(tmp_path)))
    assert [document.id for document in documents] == ["b.parquet:1"]
    assert bad.examples == {"truncated file": [f"{tmp_path}/a.parquet"]}


def test_damage_in_a_later_row_group_keeps_the_earlier_rows(tmp_path, collect):
    texts = [f"{number} {'x' * 200}" for number in range(3000)]
    file = write(tmp_path / "a.parquet", {"text": texts}, row_group_size=1000, compression="gzip", use_dictionary=False)
    start = pyarrow.parquet.ParquetFile(file).metadata.row_group(2).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + 400] = b"\xff" * 400
    file.write_bytes(content)
    documents, bad = collect(Parquet(path=str(file)))
    assert [document.text for document in documents] == texts[:2000]
    assert bad.counts == {"truncated file": 1}


def test_damaged_column_name_is_a_truncated_file(tmp_path, collect):
    file = write(tmp_path / "a.parquet", {"text": ["a"], "title": ["b"]}, store_schema=False)
    content = file.read_bytes()
    assert b"title" in content
    file.write_bytes(content.replace(b"title", b"titl\xce"))
    _, bad = collect(Parquet(path=str(file)))
    assert bad.examples == {"truncated file": [str(file)]}


def test_memory_is_flat_in_row_group_size(tmp_path):
    def peaks(rows: int) -> tuple[int, int]:
        file = write(tmp_path / f"{rows}.parquet", {"text": [f"{row} " * 2000 for row in range(rows)]})
        pool = pyarrow.default_memory_pool()
        before, most = pool.bytes_allocated(), 0
        tracemalloc.start()
        for _ in Parquet(path=str(file)).read(BadRows()):
            most = max(most, pool.bytes_allocated() - before)
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, python

    peaks(100)
    arrow, python = peaks(12_000)
    assert arrow < 60_000_000  # the text is 135 MB, in one row group
    assert python < 40_000_000
