import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rewarm.corpora.hub import Hub
from rewarm.types import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of two splits, and a cache of its own for what the library stores."""
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    top = tmp_path / "set"
    top.mkdir()
    texts = ["one", "", "three"]
    columns = {"body": texts, "key": ["a", "b", "c"], "book": ["x", "x", "y"], "unread": [1, 2, 3]}
    pyarrow.parquet.write_table(pyarrow.table(columns), top / "train-00000-of-00001.parquet")
    (top / "test.jsonl").write_text('{"body": "held"}\n', encoding="utf-8")
    (top / ".gitattributes").write_text("", encoding="utf-8")
    return top


@pytest.mark.parametrize("streaming", [True, False])
def test_rows_of_a_local_folder(folder, collect, streaming):
    (folder / "test.jsonl").unlink()
    corpus = Hub(name=str(folder), text_field="body", keep_fields=["book"], streaming=streaming)
    documents, bad = collect(corpus)
    assert [(document.id, document.text, dict(document.meta)) for document in documents] == [
        ("train:1", "one", {"book": "x"}),
        ("train:3", "three", {"book": "y"}),
    ]
    assert documents[0].place == f"{folder}/train:1"
    assert bad.examples == {"empty text": [f"{folder}/train:2"]}
    assert corpus.files() == [folder / "train-00000-of-00001.parquet"]


def test_ids_and_limit(folder, collect):
    (folder / "test.jsonl").unlink()
    documents, _ = collect(Hub(name=str(folder), text_field="body", id_field="key", limit=1))
    assert [document.id for document in documents] == ["a"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text_field": "bdy"}, "no column 'bdy'.*Did you mean 'body'"),
        ({"text_field": "body", "split": "tran"}, "split 'tran'.*cannot be loaded"),
        ({"text_field": "body", "config": "nosuch"}, "config 'nosuch'.*cannot be loaded"),
    ],
)
def test_wrong_option_is_the_users_error(folder, collect, options, words):
    (folder / "test.jsonl").unlink()
    with pytest.raises(UserError, match=f"(?s){words}"):
        collect(Hub(name=str(folder), **options))


@pytest.mark.parametrize(
    ("streaming", "words"),
    [(True, r"library stopped after row 0.*corpus jsonl or parquet"), (False, "cannot be loaded: JSON parse error")],
)
def test_row_the_library_cannot_read_is_the_users_error(folder, collect, streaming, words):
    for file in folder.iterdir():
        file.unlink()
    (folder / "a.jsonl").write_text('{"text": "good"}\n{"text": broken\n', encoding="utf-8")
    with pytest.raises(UserError, match=f"(?s){words}"):
        collect(Hub(name=str(folder), streaming=streaming))


def test_missing_library_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path, collect):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install rewarm\[hub\]"):
        collect(Hub(name=str(tmp_path)))


def test_dataset_of_the_hub_has_no_files():
    assert Hub(name="organisation/name").files() == []
