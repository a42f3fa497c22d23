import os
from pathlib import Path

import pytest

from rewarm.corpora.jsonl import Jsonl
from rewarm.corpora.paths import suffix_of
from rewarm.corpora.text import Text
from rewarm.methods import build
from rewarm.types import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five readable files in three folders, and others."""
    for name in ("a.jsonl", "b.json", "in/a.jsonl", "in/deep/c.ndjson.gz", "in/deep/d.jsonl.zst"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (tmp_path / "notes.log").write_bytes(b"")
    (tmp_path / ".hidden.jsonl").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(corpus: Jsonl | Text, top: Path) -> list[str]:
    return [file.relative_to(top).as_posix() for file in corpus.files()]


ALL = ["a.jsonl", "b.json", "in/a.jsonl", "in/deep/c.ndjson.gz", "in/deep/d.jsonl.zst"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([""], ALL),
        (["b.json", "a.jsonl", "a.jsonl", "./in/../a.jsonl"], ["a.jsonl", "b.json"]),
        (["*.jsonl"], ["a.jsonl"]),
        (["**/*.jsonl"], ["a.jsonl", "in/a.jsonl"]),
        (["**/*.jsonl*"], ["a.jsonl", "in/a.jsonl", "in/deep/d.jsonl.zst"]),
        (["*"], ALL),
        (["**"], ALL),
        (["in/*/"], ["in/deep/c.ndjson.gz", "in/deep/d.jsonl.zst"]),
        (["?.json*", "in"], ALL),
        (["[b-z].json"], ["b.json"]),
        (["*.log"], ["notes.log"]),
        (["notes.log"], ["notes.log"]),
        (["in", "in/deep", "in/**/d*"], ["in/a.jsonl", "in/deep/c.ndjson.gz", "in/deep/d.jsonl.zst"]),
    ],
)
def test_patterns_give_sorted_files_each_once(data, patterns, expected):
    corpus = Jsonl(path=[f"{data}/{pattern}" for pattern in patterns])
    assert sorted(file.resolve().relative_to(data.resolve()).as_posix() for file in corpus.files()) == expected
    assert corpus.files() == sorted(corpus.files(), key=Path.as_posix)


def test_name_with_pattern_characters_that_exists_is_that_file(data):
    (data / "x[1].jsonl").write_bytes(b"")
    (data / "x1.jsonl").write_bytes(b"")
    assert names(Jsonl(path=f"{data}/x[1].jsonl"), data) == ["x[1].jsonl"]


def test_relative_and_home_paths(data, monkeypatch):
    monkeypatch.chdir(data)
    monkeypatch.setenv("HOME", str(data))
    assert Jsonl(path="in/*.jsonl").files() == [Path("in/a.jsonl")]
    assert Jsonl(path="*.json").files() == [Path("b.json")]
    assert names(Jsonl(path="~/b.json"), data) == ["b.json"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a.jsnl", ["does not exist", "Did you mean", "a.jsonl"]),
        ("inn/a.jsonl", ["does not exist", "Did you mean", "/in'"]),
        ("zzzzzz", ["does not exist", "holds: a.jsonl, b.json, empty, in, notes.log."]),
        ("in/*.parquet", ["matches no file", "holds: a.jsonl, deep."]),
        ("in/none/*.jsonl", ["matches no file", "holds: a.jsonl, deep."]),
        ("empty", ["no file with a suffix that is read (.json, .jsonl, .ndjson)", "is empty"]),
    ],
)
def test_path_that_gives_nothing_names_what_there_is(data, pattern, words):
    with pytest.raises(UserError) as caught:
        Jsonl(path=[f"{data}/a.jsonl", f"{data}/{pattern}"]).files()
    for word in words:
        assert word in str(caught.value)


def test_links(data):
    (data / "in" / "loop").symlink_to(data / "in")
    (data / "in" / "other").symlink_to(data / "elsewhere")
    (data / "elsewhere").mkdir()
    (data / "elsewhere" / "e.jsonl").write_bytes(b"")
    (data / "in" / "same.jsonl").symlink_to(data / "in" / "a.jsonl")
    assert names(Jsonl(path=f"{data}/in"), data) == [
        "in/a.jsonl",
        "in/deep/c.ndjson.gz",
        "in/deep/d.jsonl.zst",
        "in/other/e.jsonl",
    ]
    (data / "in" / "gone.jsonl").symlink_to(data / "nowhere")
    with pytest.raises(UserError, match=r"1 of 5 files are links to nothing.*gone\.jsonl"):
        Jsonl(path=f"{data}/in").files()
    with pytest.raises(UserError, match="is a link to nothing"):
        Jsonl(path=f"{data}/in/gone.jsonl").files()


def test_pipe_is_refused_since_it_reads_only_once(data):
    os.mkfifo(data / "pipe.jsonl")
    with pytest.raises(UserError, match="not regular files"):
        Jsonl(path=f"{data}/pipe.jsonl").files()


def test_ids_follow_from_the_path_and_not_from_the_files_found(tmp_path, collect):
    for name in ("one/deep/a.txt", "two/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")

    def ids(*path: str) -> list[str]:
        return [document.id for document in collect(Text(path=path))[0]]

    assert ids(f"{tmp_path}/one") == ["deep/a.txt"]
    assert ids(f"{tmp_path}/one/deep/a.txt") == ["a.txt"]
    assert ids(f"{tmp_path}/one/**/*.txt") == ["deep/a.txt"]
    assert ids(f"{tmp_path}/one", f"{tmp_path}/two") == ["one/deep/a.txt", "two/a.txt"]


def test_name_that_is_not_utf8_can_be_printed(tmp_path, collect):
    with open(os.fsencode(tmp_path) + b"/\xe9.txt", "wb") as file:
        file.write(b"text")
    documents, _ = collect(Text(path=str(tmp_path)))
    assert documents[0].id == "\\udce9.txt"


@pytest.mark.parametrize("refused", ["in/a.txt", "in"])
def test_what_may_not_be_read_is_the_users_error(tmp_path, collect, refused):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"text")
    (tmp_path / "b.txt").write_bytes(b"text")
    (tmp_path / refused).chmod(0)
    try:
        if os.access(tmp_path / refused, os.R_OK):
            pytest.skip("this user may read every file")
        with pytest.raises(UserError, match="cannot be read: Permission denied"):
            collect(Text(path=str(tmp_path)))
    finally:
        (tmp_path / refused).chmod(0o700)


@pytest.mark.parametrize("path", ["", [], [""]])
def test_empty_path_is_refused(path):
    with pytest.raises(UserError, match="path"):
        build("corpora", {"type": "text", "path": path})


def test_suffix_ignores_packing_and_case():
    assert [suffix_of(name) for name in ("a.JSONL.zst", "b.tar.gz", "c.gz", "d", "e.x.txt", "f.xml-p1p41242.bz2")] == [
        ".jsonl",
        ".tar",
        "",
        "",
        ".txt",
        ".xml",
    ]
