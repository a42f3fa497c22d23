"""Rows of files of every kind, and what is broken in them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rewarm.corpora import faults
from rewarm.records.delimited import BROKEN_QUOTES, COLUMNS_DIFFER
from rewarm.records.reading import rows
from rewarm.records.spec import Source
from rewarm.types import BadRows, UserError


def read(path: Path, **options: object) -> tuple[list[dict[str, object]], BadRows]:
    bad = BadRows()
    found = [dict(row.fields) for row in rows(Source(path=str(path), **options), bad)]  # type: ignore[arg-type]
    assert bad.rows == len(found) + bad.total
    return found, bad


ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_the_same_rows_from_every_kind(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.json").write_text(lines)
    (tmp_path / "c.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "e.parquet")
    for name in ("a.jsonl", "b.json", "c.json", "d.jsonl.gz", "e.parquet"):
        assert read(tmp_path / name)[0] == ROWS, name
    (tmp_path / "f.csv").write_text('a,b\n1,"x"\n2,y\n')
    (tmp_path / "g.tsv").write_text("a\tb\r\n1\tx\r\n2\ty\r\n")
    for name in ("f.csv", "g.tsv"):
        assert read(tmp_path / name)[0] == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}], name


def test_records_under_a_key_and_as_values_of_a_mapping(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"data": {"items": {"k1": {"a": 1}, "k2": {"a": 2}, "k3": 5}}}))
    found, bad = read(file, under="data.items")
    assert found == [{"_key": "k1", "a": 1}, {"_key": "k2", "a": 2}]
    assert bad.counts == {faults.NOT_AN_OBJECT: 1}
    assert read(file, under="data.none")[1].counts == {"nothing under 'data.none'": 1}


def test_a_value_in_quotes_runs_over_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n1,"two\nlines, and ""more"""\n\n2,5" disk\n')
    assert read(tmp_path / "a.csv")[0] == [{"a": "1", "b": 'two\nlines, and "more"'}, {"a": "2", "b": '5" disk'}]


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path: Path) -> None:
    text = 'a,b\n1,x\n2,"open\n' + "".join(f"{n},y\n" for n in range(3, 20_000)) + '7,"z"w\n8\n9,1,2\n10,ok\n'
    (tmp_path / "a.csv").write_text(text)
    found, bad = read(tmp_path / "a.csv")
    assert len(found) == 19_999
    assert found[-1] == {"a": "10", "b": "ok"}
    assert bad.counts == {BROKEN_QUOTES: 2, COLUMNS_DIFFER: 2}
    assert bad.examples[BROKEN_QUOTES][0].endswith("a.csv:3")


def test_lines_that_are_not_utf8_or_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,\xff\n2,y\n")
    found, bad = read(tmp_path / "a.csv")
    assert (found, dict(bad.counts)) == ([{"a": "2", "b": "y"}], {faults.NOT_UTF8: 1})
    (tmp_path / "b.jsonl").write_bytes(b'{"a": 1}\n[1]\n{"a":\n"\xff"\n' + b"[" * 200_000 + b"\n")
    found, bad = read(tmp_path / "b.jsonl")
    assert found == [{"a": 1}]
    assert bad.counts == {faults.NOT_AN_OBJECT: 1, faults.BROKEN_JSON: 2, faults.NOT_UTF8: 1}


def test_a_damaged_parquet_file_is_one_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing")
    assert read(tmp_path / "a.parquet")[1].counts == {faults.TRUNCATED_FILE: 1}


@pytest.mark.parametrize("head", ["", "a,a\n1,2\n", "a,,b\n1,2,3\n"])
def test_a_first_line_without_names(tmp_path: Path, head: str) -> None:
    (tmp_path / "a.csv").write_text(head + "\n")
    if not head:
        assert read(tmp_path / "a.csv")[0] == []
        return
    with pytest.raises(UserError, match="must begin with a line of names"):
        read(tmp_path / "a.csv")
