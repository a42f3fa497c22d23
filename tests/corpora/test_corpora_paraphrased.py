"""Documents with their paraphrases: matched by id or by digest, counted, and never parted by the held-out split."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from rewarm.corpora.jsonl import Jsonl
from rewarm.corpora.paraphrased import Paraphrased
from rewarm.methods import build
from rewarm.tokens.prepare import group_key
from rewarm.types import BadRows, UserError


def write(file: Path, rows: list[Any]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Any]:
    """Three documents and rows of paraphrases: by id, by digest, out of order, empty, repeated, of nobody, broken."""
    path = write(tmp_path / "a.jsonl", [{"text": f"fact {n}", "n": n, "book": n // 2} for n in range(3)])
    rows = [
        {"sha256": sha("fact 1").upper(), "text": "one"}, {"id": "0", "paraphrases": ["zero", "nought", "nil"]},
        {"id": 0, "text": "nothing"}, {"id": "0", "text": " "}, {"id": 0, "text": "fact 0"},
        {"id": "9", "text": "of none"}, {"text": "no key"}, {"id": "0"},
    ]  # fmt: skip
    para = tmp_path / "p.jsonl"
    write(para, rows)
    para.write_text(para.read_text() + "\n{broken\n")
    return {"path": path, "paraphrases": str(para), "source": {"id_field": "n"}}


def test_each_document_is_followed_by_its_paraphrases(made: dict[str, Any]) -> None:
    bad = BadRows()
    documents = list(Paraphrased(**made).read(bad))
    assert [(one.id, one.text) for one in documents] == [
        ("0", "fact 0"), ("0#1", "zero"), ("0#2", "nought"), ("0#3", "nil"), ("0#4", "nothing"), ("1", "fact 1"),
        ("1#1", "one"), ("2", "fact 2"),
    ]  # fmt: skip
    assert dict(bad.counts) == {
        "paraphrase: empty text": 1, "paraphrase: repeats the original": 1, "paraphrase: text is not a string": 1,
        "a paraphrase of no document": 1, "a paraphrase without id or sha256": 1, "broken JSON": 1,
    }  # fmt: skip
    assert bad.rows == 8 + 6
    assert dict(bad.left_out) == {"paraphrases of documents that have none": 1}
    assert bad.examples["broken JSON"] == [f"{made['paraphrases']}:10"]
    assert bad.examples["a paraphrase of no document"] == [f"{made['paraphrases']}:6"]
    assert documents[2].place == f"{made['paraphrases']}:2"


def test_originals_and_a_cap(made: dict[str, Any]) -> None:
    bad = BadRows()
    documents = list(Paraphrased(**made, originals=False, per_document=2).read(bad))
    assert [one.text for one in documents] == ["zero", "nought", "one"]
    assert bad.left_out["originals (originals: false)"] == 3
    assert bad.left_out["paraphrases above per_document"] == 5
    assert bad.rows == len(documents) + bad.total


@pytest.mark.parametrize("by", [None, "book"])
def test_a_document_is_held_out_with_all_its_paraphrases(made: dict[str, Any], by: str | None) -> None:
    """And exactly when the corpus of the originals holds it out: a watched document is nowhere paraphrased."""
    source = {**made["source"], "holdout_by": by}
    corpus = Paraphrased(**{**made, "source": source})
    plain = Jsonl(path=made["path"], **source)
    keys = {one.id: group_key(one, plain.holdout_by) for one in plain.read(BadRows())}
    for document in corpus.read(BadRows()):
        assert group_key(document, corpus.holdout_by) == keys[document.id.split("#")[0]]
    assert len(set(keys.values())) == (3 if by is None else 2)


def test_what_cannot_be_is_refused(made: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="put holdout_by into 'source'"):
        build("corpora", {"type": "paraphrased", **made, "holdout_by": "book"})
    with pytest.raises(UserError, match=r"source\.text_feld: unknown key\. Did you mean 'text_field'"):
        build("corpora", {"type": "paraphrased", **made, "source": {"text_feld": "x"}})
    with pytest.raises(UserError, match="paraphrases of paraphrases"):
        build("corpora", {"type": "paraphrased", **made, "source": {"type": "paraphrased", **made}})
    with pytest.raises(UserError, match="is no file"):
        Paraphrased(**{**made, "paraphrases": str(tmp_path / "gone.jsonl")}).files()
    with pytest.raises(UserError, match="plain JSONL"):
        Paraphrased(**{**made, "paraphrases": write(tmp_path / "p.jsonl.gz", [])}).files()
    assert [file.name for file in Paraphrased(**made).files()] == ["a.jsonl", "p.jsonl"]
