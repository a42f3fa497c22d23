"""What every corpus must keep: a sample of each, with bad rows where the kind can have them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rewarm.corpora import Corpus
from rewarm.corpora.chat import Chat
from rewarm.corpora.code import Code
from rewarm.corpora.hub import Hub
from rewarm.corpora.jsonl import Jsonl
from rewarm.corpora.paraphrased import Paraphrased
from rewarm.corpora.parquet import Parquet
from rewarm.corpora.preferences import Preferences
from rewarm.corpora.text import Text
from rewarm.corpora.wiki import Wiki
from rewarm.kinds import corpus_options
from rewarm.methods import build, known
from rewarm.types import BadRows


def jsonl(folder: Path) -> Corpus:
    for name in ("b.jsonl", "a/b.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b'{"text": "same text"}\nbroken\n\n{"text": "same text"}\n')
    return Jsonl(path=str(folder))


def parquet(folder: Path) -> Corpus:
    (folder / "a").mkdir()
    for name in ("b.parquet", "a/b.parquet"):
        pyarrow.parquet.write_table(pyarrow.table({"text": ["same text", None, "same text"]}), folder / name)
    return Parquet(path=str(folder))


def text(folder: Path) -> Corpus:
    for name in ("b.txt", "a/b.txt", "c.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"same text")
    (folder / "bad.txt").write_bytes(b"\xff")
    (folder / "worse.txt").write_bytes(b"\0")
    (folder / "d.txt").write_bytes(b"same text")
    return Text(path=str(folder))


def code(folder: Path) -> Corpus:
    for name in ("b.py", "a/b.py", "c.rs", "d.go"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"same text")
    (folder / "bad.py").write_bytes(b"\xff")
    (folder / "worse.c").write_bytes(b"\0")
    return Code(path=str(folder))


def hub(folder: Path) -> Corpus:
    pytest.importorskip("datasets")
    texts = ["same text", None, "same text", "same text", "", "same text"]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), folder / "train.parquet")
    return Hub(name=str(folder))


def preferences(folder: Path) -> Corpus:
    for name, bad in (("b.jsonl", "broken"), ("a/b.jsonl", '{"prompt": "p", "chosen": "one", "rejected": "one "}')):
        (folder / name).parent.mkdir(exist_ok=True)
        row = '{"prompt": "same text", "chosen": "one", "rejected": "two"}'
        (folder / name).write_text(f"{row}\n{bad}\n", encoding="utf-8")
    return Preferences(path=str(folder))


def wiki(folder: Path) -> Corpus:
    page = "<page><title>T</title><ns>0</ns><id>{}</id>{}<revision><text>{}</text></revision></page>\n"
    rows = ((1, "", "same text"), (2, "<redirect/>", "#REDIRECT [[T]]"), (1, "", "again"), (3, "", "same text"))
    more = ((4, "", "same text"), (5, "", " "), (6, "", "same text"))
    (folder / "a").mkdir()
    for name, content in (("a/b.xml", rows), ("b.xml-p4p6", more)):
        text = "".join(page.format(*row) for row in content)
        (folder / name).write_text(f"<mediawiki>{text}</mediawiki>", encoding="utf-8")
    return Wiki(path=str(folder))


def chat(folder: Path) -> Corpus:
    row = b'{"prompt": "same text", "response": "same text"}\n'
    for name in ("b.jsonl", "a/b.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(row + b'{"prompt": "no answer"}\n\n' + row)
    return Chat(path=str(folder))


def paraphrased(folder: Path) -> Corpus:
    (folder / "a.jsonl").write_bytes(b'{"text": "same text"}\nbroken\n{"text": "another"}\n')
    rows = [
        b'{"id": "a.jsonl:1", "paraphrases": ["text, the same", "and again"]}\n',
        b'{"id": "b", "text": "of none"}\n',
    ]
    (folder / "b.jsonl").write_bytes(b"".join(rows))
    return Paraphrased(path=str(folder / "a.jsonl"), paraphrases=str(folder / "b.jsonl"))


SAMPLES: dict[str, Callable[[Path], Corpus]] = {
    "chat": chat,
    "code": code,
    "hub": hub,
    "jsonl": jsonl,
    "paraphrased": paraphrased,
    "parquet": parquet,
    "preferences": preferences,
    "text": text,
    "wiki": wiki,
}


@pytest.fixture(params=sorted(known("corpora")))
def corpus(request, tmp_path) -> Corpus:
    """A sample of 4 documents and 2 bad rows."""
    return SAMPLES[request.param](tmp_path)


def test_reading_twice_gives_the_same(corpus, collect):
    assert collect(corpus) == collect(corpus)


def test_ids_are_unique_and_drops_add_up(corpus, collect):
    documents, bad = collect(corpus)
    assert len({document.id for document in documents}) == len(documents) == 4
    assert (bad.total, bad.rows) == (2, 6)


def test_counts_add_up_whenever_the_reader_stops(corpus):
    for stop in range(1, 5):
        bad = BadRows()
        documents = corpus.read(bad)
        for _ in range(stop):
            next(documents)
        assert bad.rows == stop + bad.total


def test_limit_keeps_the_first_documents(corpus, collect):
    everything, _ = collect(corpus)
    limited, bad = collect(corpus.model_copy(update={"limit": 3}))
    assert limited == everything[:3]
    assert bad.rows <= 5


def test_every_text_can_be_stored_and_every_place_found(corpus, collect, tmp_path):
    for document in collect(corpus)[0]:
        assert document.text.encode("utf-8").decode("utf-8") == document.text != ""
        assert "\0" not in document.text
        assert document.place.startswith(str(tmp_path))


def test_files_are_sorted_and_exist(corpus):
    files = corpus.files()
    assert files == sorted(files, key=Path.as_posix)
    assert all(file.is_file() for file in files)


def test_description_builds_the_same_corpus(corpus):
    assert build("corpora", corpus.described()) == corpus


def test_plan_finds_the_type_of_a_path(tmp_path):
    for name in ("jsonl", "parquet", "text", "code", "wiki"):
        folder = tmp_path / name
        folder.mkdir()
        SAMPLES[name](folder)
        assert type(build("corpora", corpus_options(str(folder)))) is known("corpora")[name]


def test_looking_up_the_folder_imports_no_heavy_library():
    script = (
        "import sys; from rewarm.methods import known; assert len(known('corpora')) >= 5; "
        "heavy = ('torch', 'transformers', 'datasets', 'pyarrow', 'pandas', 'mwparserfromhell'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
