import gzip

import pytest
import zstandard

from rewarm.corpora.text import Text
from rewarm.methods import build
from rewarm.types import UserError


def test_one_document_per_file_with_its_own_line_ends(tmp_path, collect):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    (tmp_path / "b" / "c.md").write_bytes("é".encode())
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "e.md.zst").write_bytes(zstandard.ZstdCompressor().compress(b"packed too"))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    documents, bad = collect(Text(path=str(tmp_path)))
    assert [(document.id, document.text) for document in documents] == [
        ("a.txt", "one\r\ntwo\rthree\n"),
        ("b/c.md", "é"),
        ("d.txt.gz", "packed"),
        ("e.md.zst", "packed too"),
    ]
    assert documents[1].place == f"{tmp_path}/b/c.md"
    assert documents[1].meta == {"path": "b/c.md"}
    assert bad.total == 0


def test_faults_are_counted_with_the_file_and_files_without_text_are_none(tmp_path, collect):
    contents = {
        "binary.txt": b"GIF\0\xff",
        "empty.txt": b"",
        "good.txt": b"good",
        "large.txt": b"x" * 101,
        "latin.txt": b"caf\xe9",
        "spaces.txt": b" \r\n\t",
        "utf16.txt": "text".encode("utf-16"),
        "cut.txt.gz": gzip.compress(b"half a document")[:-9],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    documents, bad = collect(Text(path=str(tmp_path), max_row_bytes=100))
    assert [document.id for document in documents] == ["good.txt"]
    assert bad.examples == {
        "binary file": [f"{tmp_path}/binary.txt", f"{tmp_path}/utf16.txt"],
        "truncated file": [f"{tmp_path}/cut.txt.gz"],
        "row longer than max_row_bytes": [f"{tmp_path}/large.txt"],
        "not UTF-8": [f"{tmp_path}/latin.txt"],
    }
    assert bad.rows == 6


def test_only_the_path_can_hold_files_out_together():
    assert Text(path="x", holdout_by="path").holdout_by == "path"
    with pytest.raises(UserError, match="held out by path"):
        build("corpora", {"type": "text", "path": "x", "holdout_by": "book"})
