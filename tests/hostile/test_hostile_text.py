"""Files of text that are damaged, huge or no text: counted with a reason in bounded memory, and others are read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from rewarm.corpora import Corpus
from rewarm.corpora.jsonl import Jsonl
from rewarm.corpora.parquet import Parquet
from rewarm.corpora.text import Text
from rewarm.corpora.wiki import Wiki
from rewarm.methods import build
from rewarm.tokens.prepare import prepare
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Document, UserError

GOOD = b'{"text": "good"}\n'


def read(corpus: Corpus) -> tuple[list[Document], BadRows]:
    bad = BadRows()
    documents = list(corpus.read(bad))
    assert bad.rows == len(documents) + bad.total
    return documents, bad


def packed(file: Path, pieces: Iterator[bytes]) -> Path:
    """A Zstandard file written piece by piece, as whoever builds a bomb would."""
    with file.open("wb") as plain, zstandard.ZstdCompressor(level=1).stream_writer(plain) as writer:
        for piece in pieces:
            writer.write(piece)
    return file


def peak_of(work: Callable[[], Any]) -> tuple[Any, int]:
    tracemalloc.start()
    found = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak


def bomb(first: bytes, last: bytes, mebibytes: int) -> Iterator[bytes]:
    yield first
    piece = b" " * (1 << 20)
    for _ in range(mebibytes):
        yield piece
    yield last


def test_a_small_file_that_expands_to_a_gigabyte_costs_no_memory(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.jsonl.zst", bomb(GOOD, b"\n" + GOOD, 1024))
    assert file.stat().st_size < 200_000
    (documents, bad), peak = peak_of(lambda: read(Jsonl(path=str(file))))
    assert [one.text for one in documents] == ["good", "good"]
    assert bad.counts == {"row longer than max_row_bytes": 1}
    assert peak < 100_000_000  # a row of up to 64 MB may be looked at


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("a.txt.zst", b"one ", b""),
        ("a.xml.zst", b"<mediawiki><page><title>T</title><ns>0</ns><id>1</id><revision><text>",
         b"</text></revision></page></mediawiki>"),
        ("a.jsonl.zst", b'{"text": "', b'"}\n'),
    ],
)  # fmt: skip
def test_a_document_of_100_mb_on_one_line_is_a_bad_row(tmp_path: Path, name: str, first: bytes, last: bytes) -> None:
    file = packed(tmp_path / name, bomb(first, last, 100))
    kind = {".txt": "text", ".xml": "wiki", ".jso": "jsonl"}[name[1:5]]
    corpus = build("corpora", {"type": kind, "path": str(file), "max_row_bytes": "4M"})
    assert isinstance(corpus, Jsonl | Text | Wiki)
    (documents, bad), peak = peak_of(lambda: read(corpus))
    assert documents == []
    assert bad.counts == {"row longer than max_row_bytes": 1}
    assert peak < 20_000_000


def test_json_that_nests_without_end_is_broken(tmp_path: Path) -> None:
    for deep in (
        b"[" * 1_000_000,
        b'{"text":' * 200_000,
        b'{"text": "a", "x": ' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    ):
        (tmp_path / "a.jsonl").write_bytes(deep + b"\n" + GOOD)
        documents, bad = read(Jsonl(path=str(tmp_path / "a.jsonl")))
        assert [one.text for one in documents] == ["good"]
        assert bad.counts == {"broken JSON": 1}


BINARY = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0>\0" + bytes(range(256))
UTF_16 = '{"text": "good"}\n'.encode("utf-16")


@pytest.mark.parametrize("content", [BINARY, UTF_16, UTF_16[2:], b"\xff" * 10], ids=["elf", "utf-16", "no mark", "ff"])
def test_binary_files_with_names_of_text(tmp_path: Path, content: bytes) -> None:
    for name, kind in (("bad.txt", Text), ("bad.jsonl", Jsonl)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"good{Path(name).suffix}").write_bytes(GOOD)
        documents, bad = read(kind(path=[str(tmp_path / name), str(tmp_path / f"good{Path(name).suffix}")]))
        assert len(documents) == 1
        assert documents[0].text.strip() in ("good", GOOD.decode().strip())
        assert bad.total >= 1
        assert set(bad.counts) <= {"not UTF-8", "broken JSON", "binary file"}


def test_line_ends_of_every_kind(tmp_path: Path) -> None:
    """Only a line feed ends a row: a lone carriage return and U+2028, U+2029 and U+0085 are text."""
    rows = [{"text": f"a{end}b"} for end in ("\r", "\r\n", "\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c")]
    content = b"\r\n".join(orjson.dumps(row) for row in rows) + b"\n\r\n\n"
    (tmp_path / "a.jsonl").write_bytes(content)
    documents, bad = read(Jsonl(path=str(tmp_path / "a.jsonl")))
    assert [one.text for one in documents] == [row["text"] for row in rows]
    assert [one.id for one in documents] == [f"a.jsonl:{number}" for number in range(1, 9)]
    assert bad.total == 0
    (tmp_path / "b.txt").write_bytes("one\rtwo\r\nthree\nfour\u2028five".encode())
    documents, _ = read(Text(path=str(tmp_path / "b.txt")))
    assert documents[0].text == "one\rtwo\r\nthree\nfour\u2028five"


def test_a_parquet_file_with_another_type_of_column(tmp_path: Path) -> None:
    columns: list[Any] = [
        [1, 2],
        [1.5, None],
        [b"\xff\xfe", b"good"],
        [["a"], ["b"]],
        [{"a": 1}, {"a": 2}],
        [True, False],
    ]
    for number, column in enumerate(columns):
        pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / f"{number}.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["good"]}), tmp_path / "9.parquet")
    documents, bad = read(Parquet(path=str(tmp_path)))
    assert [one.text for one in documents] == ["good"]
    assert bad.total == 12
    assert set(bad.counts) == {"text is not a string"}


def test_a_corpus_that_changes_while_it_is_read_makes_no_store(
    tmp_path: Path, tiny_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(GOOD * 1000)
    tokenizer, original = TextTokenizer(tiny_tokenizer_folder), Jsonl._documents

    def growing(self: Jsonl, bad: BadRows) -> Iterator[Document]:
        yield from original(self, bad)
        with file.open("ab") as opened:
            opened.write(GOOD)

    monkeypatch.setattr(Jsonl, "_documents", growing)
    with pytest.raises(UserError, match="corpus 'new' changed while it was read: run again once nothing writes"):
        prepare("new", Jsonl(path=str(file)), tokenizer, tmp_path / "prepared", 0.0)
    assert [one.name for one in (tmp_path / "prepared").iterdir()] == [".lock"]
    monkeypatch.undo()
    assert prepare("new", Jsonl(path=str(file)), tokenizer, tmp_path / "prepared", 0.0).documents == 1001
