"""`keep_fields: ["*"]` keeps what a row holds, whatever its fields are called."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

from rewarm.corpora.jsonl import Jsonl
from rewarm.corpora.parquet import Parquet
from rewarm.types import BadRows

ROWS = [{"body": "one", "id": "a", "n": 1, "none": None}, {"body": "two", "id": "b", "n": 2, "none": None}]
KEPT = [{"id": "a", "n": 1}, {"id": "b", "n": 2}]


def test_every_field_of_a_row_is_kept_but_the_text_and_nulls(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    for kind, file in ((Jsonl, "rows.jsonl"), (Parquet, "rows.parquet")):
        corpus = kind(path=str(tmp_path / file), text_field="body", keep_fields=("*",))
        assert [document.meta for document in corpus.read(BadRows())] == KEPT
        assert [document.id for document in corpus.model_copy(update={"id_field": "id"}).read(BadRows())] == ["a", "b"]
