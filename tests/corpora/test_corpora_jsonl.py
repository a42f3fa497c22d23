import bz2
import gzip
import os
import tracemalloc
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rewarm.corpora.jsonl import Jsonl
from rewarm.types import BadRows, UserError


def lines(count: int, size: int = 20) -> bytes:
    """Rows whose texts are hard to compress, so that a packed file has many blocks."""
    return b"".join(orjson.dumps({"text": f"{number} {os.urandom(size).hex()}"}) + b"\n" for number in range(count))


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


FAULTS = {
    b'{"text": "caf\xe9"}': "not UTF-8",
    b'{"text": "a"': "broken JSON",
    b"[" * 3000: "broken JSON",
    b"\xef\xbb\xbf" + b'{"text": "a mark that is not at the start of the file"}': "broken JSON",
    b'["text"]': "not an object",
    b"NaN": "not an object",
    b'{"body": "a"}': "no text field",
    b'{"text": null}': "text is not a string",
    b'{"text": ["a"]}': "text is not a string",
    b'{"text": ""}': "empty text",
    b'{"text": " \\n\\u3000"}': "empty text",
    b'{"text": "half \\ud83d"}': "lone surrogate",
    b'{"text": "a", "title": "\\udc00"}': "lone surrogate",
    b'{"text": "a\\u0000b"}': "NUL character",
    b'{"text": "' + b"a" * 5000 + b'"}': "row longer than max_row_bytes",
}


@pytest.mark.parametrize(("line", "reason"), FAULTS.items(), ids=range(len(FAULTS)))
def test_fault_is_counted_with_its_place_and_its_neighbours_are_read(tmp_path, collect, line, reason):
    file = write(tmp_path / "a.jsonl", b'{"text": "first"}\n' + line + b'\n{"text": "third"}\n')
    documents, bad = collect(Jsonl(path=str(file), max_row_bytes=4096))
    assert [(document.id, document.text) for document in documents] == [("a.jsonl:1", "first"), ("a.jsonl:3", "third")]
    assert bad.counts == {reason: 1}
    assert bad.examples == {reason: [f"{file}:2"]}
    assert bad.rows == 3


def test_repeated_and_missing_ids_are_bad_rows(tmp_path, collect):
    rows = [
        {"id": "x", "text": "1"},
        {"id": 7, "text": "2"},
        {"id": "x", "text": "3"},
        {"id": "7", "text": "4"},
        {"text": "5"},
        {"id": True, "text": "6"},
        {"id": "", "text": "7"},
        {"id": "y", "text": ""},
        {"id": "y", "text": "9"},
    ]
    file = write(tmp_path / "a.jsonl", b"\n".join(map(orjson.dumps, rows)))
    documents, bad = collect(Jsonl(path=str(file), id_field="id"))
    assert [document.id for document in documents] == ["x", "7", "y"]
    assert documents[2].text == "9"
    assert bad.examples["duplicate id"] == [f"{file}:3", f"{file}:4"]
    assert bad.examples["no id"] == [f"{file}:5", f"{file}:6", f"{file}:7"]


def test_kept_fields_reach_the_meta_and_null_ones_do_not(tmp_path, collect):
    rows = [{"body": "a", "book": "b1", "year": 1900, "extra": 1}, {"body": "c", "book": None}]
    file = write(tmp_path / "a.jsonl", b"\n".join(map(orjson.dumps, rows)))
    corpus = Jsonl(path=str(file), text_field="body", keep_fields=["year"], holdout_by="book")
    documents, _ = collect(corpus)
    assert [dict(document.meta) for document in documents] == [{"year": 1900, "book": "b1"}, {}]


def test_line_ends_blank_lines_byte_order_mark_and_missing_last_newline(tmp_path, collect):
    content = (
        b'\xef\xbb\xbf{"text": "one\\r\\ntwo"}\r\n\r\n   \n\n{"text": "\xc3\xa9"}\n{"text": "r"}\r\n{"text": "end"}'
    )
    documents, bad = collect(Jsonl(path=str(write(tmp_path / "a.jsonl", content))))
    assert [(document.id, document.text) for document in documents] == [
        ("a.jsonl:1", "one\r\ntwo"),
        ("a.jsonl:5", "é"),
        ("a.jsonl:6", "r"),
        ("a.jsonl:7", "end"),
    ]
    assert bad.total == 0


def test_infinity_and_nan_as_python_writes_them_are_read(tmp_path, collect):
    file = write(tmp_path / "a.jsonl", b'{"text": "a", "score": NaN}\n{"text": "b", "score": -Infinity}\n')
    documents, bad = collect(Jsonl(path=str(file)))
    assert [document.text for document in documents] == ["a", "b"]
    assert bad.total == 0


def test_empty_file_gives_nothing(tmp_path, collect):
    documents, bad = collect(Jsonl(path=str(write(tmp_path / "a.jsonl", b""))))
    assert documents == []
    assert bad.rows == 0


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".bz2"):
        return bz2.compress(content, 1)  # small blocks: one that is cut gives nothing
    return gzip.compress(content) if name.lower().endswith(".gz") else zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.ndjson.zst", "a.JSON.GZ", "a.jsonl.bz2"])
def test_packed_files_read_as_plain_ones(tmp_path, collect, name):
    content = lines(5000)
    plain, _ = collect(Jsonl(path=str(write(tmp_path / "plain" / "a.jsonl", content))))
    documents, bad = collect(Jsonl(path=str(write(tmp_path / name, packed(name, content)))))
    assert [document.text for document in documents] == [document.text for document in plain]
    assert documents[-1].id == f"{name}:5000"
    assert bad.total == 0


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2"])
def test_several_frames_or_members_are_one_file(tmp_path, collect, name):
    content = packed(name, b'{"text": "one"}\n{"te') + packed(name, b"") + packed(name, b'xt": "two"}\n')
    documents, bad = collect(Jsonl(path=str(write(tmp_path / name, content))))
    assert [document.text for document in documents] == ["one", "two"]
    assert bad.total == 0


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2"])
@pytest.mark.parametrize("kept", [0.0, 0.5, -1, -5])
def test_truncated_file_is_one_bad_row_and_keeps_what_came_before(tmp_path, collect, name, kept):
    content = packed(name, lines(20_000))
    end = int(kept * len(content)) if kept >= 0 else len(content) + kept
    file = write(tmp_path / name, content[:end])
    write(tmp_path / "b.jsonl", b'{"text": "the next file"}\n')
    documents, bad = collect(Jsonl(path=[str(file), str(tmp_path / "b.jsonl")]))
    assert bad.counts == {"truncated file": 1}
    assert bad.examples == {"truncated file": [str(file)]}
    assert documents[-1].text == "the next file"
    read = documents[:-1]
    assert [document.text.split()[0] for document in read] == [str(number) for number in range(len(read))]
    if kept == 0.5:
        assert 8_000 < len(read) < 12_000
    if kept < 0:
        assert len(read) > 15_000


@pytest.mark.parametrize("checksum", [False, True])
def test_every_cut_of_a_zstandard_file_is_seen(tmp_path, collect, checksum):
    rows = lines(3)
    frame = zstandard.ZstdCompressor(write_checksum=checksum).compress(rows)
    skippable = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    content = skippable + frame
    whole = {len(skippable), len(content)}
    for end in range(1, len(content) + 1):
        _, bad = collect(Jsonl(path=str(write(tmp_path / "a.jsonl.zst", content[:end]))))
        assert bad.total == (0 if end in whole else 1), end


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2"])
def test_damaged_and_foreign_content_is_a_truncated_file(tmp_path, collect, name):
    content = bytearray(packed(name, lines(20_000)))
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    documents, bad = collect(Jsonl(path=str(write(tmp_path / name, bytes(content)))))
    assert bad.counts["truncated file"] == 1
    assert len(documents) > 5_000
    _, bad = collect(Jsonl(path=str(write(tmp_path / "not" / name, b"plain text, wrong suffix"))))
    assert bad.counts == {"truncated file": 1}


def test_zeros_after_a_gzip_member_are_padding(tmp_path, collect):
    content = packed("a.gz", b'{"text": "one"}\n') + bytes(1_000_000)
    documents, bad = collect(Jsonl(path=str(write(tmp_path / "a.jsonl.gz", content))))
    assert [document.text for document in documents] == ["one"]
    assert bad.total == 0


def test_frames_with_the_largest_window_are_read(tmp_path, collect):
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    content = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed_rows = content.compress(b'{"text": "one"}\n') + content.flush()
    documents, bad = collect(Jsonl(path=str(write(tmp_path / "a.jsonl.zst", packed_rows))))
    assert [document.text for document in documents] == ["one"]
    assert bad.total == 0


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2"])
def test_line_over_the_limit_is_skipped_without_being_held(tmp_path, suffix):
    content = b'{"text": "before"}\n{"text": "' + b"a" * 10_000_000 + b'"}\n{"text": "after"}\n'
    file = write(tmp_path / f"a.jsonl{suffix}", packed(suffix, content) if suffix else content)
    del content
    corpus = Jsonl(path=str(file), max_row_bytes="1M")
    bad = BadRows()
    tracemalloc.start()
    texts = [document.text for document in corpus.read(bad)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts == ["before", "after"]
    assert bad.examples == {"row longer than max_row_bytes": [f"{file}:2"]}
    assert peak < 5_000_000


def test_row_of_exactly_the_limit_is_read(tmp_path, collect):
    for size, count in ((300_000, 1), (299_999, 0)):
        line = b'{"text": "' + b"a" * (300_000 - 12) + b'"}'
        assert len(line) == 300_000
        for end in (b"\n", b""):
            documents, _ = collect(Jsonl(path=str(write(tmp_path / "a.jsonl", line + end)), max_row_bytes=size))
            assert len(documents) == count


def test_memory_is_flat_in_corpus_size(tmp_path):
    def peak(count: int) -> int:
        corpus = Jsonl(path=str(write(tmp_path / "a.jsonl.zst", packed("a.zst", lines(count, 400)))))
        tracemalloc.start()
        assert sum(1 for _ in corpus.read(BadRows())) == count
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(100)
    assert peak(32_000) < 1.2 * peak(4_000)


def test_limit_keeps_the_first_documents_and_reads_no_further(tmp_path, collect):
    content = b'{"text": "1"}\nbroken\n{"text": "2"}\nbroken\n{"text": "3"}\n'
    documents, bad = collect(Jsonl(path=str(write(tmp_path / "a.jsonl", content)), limit=2))
    assert [document.text for document in documents] == ["1", "2"]
    assert (bad.rows, bad.total) == (3, 1)


def test_packing_that_is_not_read_is_refused(tmp_path, collect):
    file = write(tmp_path / "a.jsonl.xz", b"\xfd7zXZ")
    with pytest.raises(UserError, match=r"\.xz files are not read.*gzip or zstd"):
        collect(Jsonl(path=str(file)))


json_pieces = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"{",
        b"}",
        b'"text"',
        b": ",
        b'"a"',
        b'{"text": "a"}',
        b"\\ud800",
        b"\xff",
        b"\0",
        b"NaN",
        b"1e999",
    ]
)


@given(content=st.one_of(st.binary(max_size=300), st.lists(json_pieces, max_size=40).map(b"".join)))
def test_no_bytes_raise_and_rows_are_good_plus_bad(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "random"
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.bz2", "a.jsonl.zst"):
        bad = BadRows()
        documents = list(Jsonl(path=str(write(folder / name, content)), max_row_bytes=64).read(bad))
        assert bad.rows == len(documents) + bad.total
        if name == "a.jsonl":
            assert bad.rows == sum(1 for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip())


@pytest.mark.data
def test_real_books_are_read_whole(collect):
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data")
    file = folder / "base" / "classic_books_en.jsonl.zst"
    if not file.is_file():
        pytest.skip("set REWARM_DATA to the folder of real data")
    documents, bad = collect(Jsonl(path=str(file), id_field="id", holdout_by="group"))
    assert (len(documents), bad.total) == (4458, 0)
    assert all(document.meta["group"] for document in documents)
