"""Documents to a store: made once, made again when anything in it would differ, and in memory that does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.corpora.jsonl import Jsonl
from rewarm.hashing import text_hash
from rewarm.tokens import prepare as module
from rewarm.tokens.prepare import fingerprint, prepare, store_folder
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError


@pytest.fixture(scope="session")
def tiny(tiny_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer_folder)


def test_a_store_holds_each_document_with_its_size_hash_and_group(
    tmp_path: Path, tiny: TextTokenizer, words: Any, write_jsonl: Any
) -> None:
    texts = [words(seed, 5 + seed) for seed in range(10)] + ["größer ✓"]
    books = [f"book {number // 4}" for number in range(10)] + [None]
    corpus = Jsonl(path=str(write_jsonl(tmp_path / "a.jsonl", texts, book=books)), holdout_by="book")
    store = prepare("a", corpus, tiny, tmp_path / "prepared", 0.0)
    assert [store.ids(index).tolist() for index in range(11)] == [ids.tolist() for ids in tiny.encode(texts)]
    assert store.bytes.tolist() == [len(text.encode()) for text in texts]
    assert store.hashes.tolist() == [text_hash(text) for text in texts]
    expected = [text_hash(f"book {number // 4}") for number in range(10)] + [text_hash("größer ✓")]
    assert store.groups.tolist() == expected


def test_blocks_do_not_show(
    tmp_path: Path, tiny: TextTokenizer, words: Any, write_jsonl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Jsonl(path=str(write_jsonl(tmp_path / "a.jsonl", [words(seed, 30) for seed in range(40)])))
    whole = prepare("a", corpus, tiny, tmp_path / "whole", 0.0)
    for characters in (1, 500):
        monkeypatch.setattr(module, "BLOCK_CHARACTERS", characters)
        cut = prepare("a", corpus, tiny, tmp_path / str(characters), 0.0)
        for file in whole.folder.iterdir():
            assert file.read_bytes() == (cut.folder / file.name).read_bytes()


def test_a_store_is_made_once(tmp_path: Path, tiny: TextTokenizer, write_jsonl: Any) -> None:
    corpus = Jsonl(path=str(write_jsonl(tmp_path / "a.jsonl", ["ba", "ke"])))
    told: list[str] = []
    for _ in range(2):
        store = prepare("a", corpus, tiny, tmp_path / "p", 0.0, lambda label, *_: told.append(label))
    assert told == ["tokenise a"]
    assert store.manifest["rows"] == 2
    assert store.manifest["inputs"] == fingerprint(corpus)
    assert store.manifest["tokenizer"] == tiny.hash


def test_what_changes_the_tokens_changes_the_folder(
    tmp_path: Path, tiny: TextTokenizer, tiny_tokenizer_folder: Path, write_jsonl: Any
) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", ["ba", "ke"], book="x")
    corpus = Jsonl(path=str(file))
    first = store_folder("a", corpus, tiny, tmp_path)
    assert store_folder("a", Jsonl(path=str(file), holdout=0.5), tiny, tmp_path) == first
    others = {
        first,
        store_folder("b", corpus, tiny, tmp_path),
        store_folder("a", Jsonl(path=str(file), holdout_by="book"), tiny, tmp_path),
        store_folder("a", Jsonl(path=str(file), limit=1), tiny, tmp_path),
    }
    os.utime(file, ns=(1, 1))
    others.add(store_folder("a", corpus, tiny, tmp_path))
    write_jsonl(file, ["ba", "ke", "lo"])
    others.add(store_folder("a", corpus, tiny, tmp_path))
    assert len(others) == 6


def test_an_empty_corpus_and_a_bad_one_leave_no_store(tmp_path: Path, tiny: TextTokenizer, write_jsonl: Any) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match=r"corpus 'e' is empty: 0 rows read from .*empty\.jsonl"):
        prepare("e", Jsonl(path=str(tmp_path / "empty.jsonl")), tiny, tmp_path / "p", 0.0)
    bad = write_jsonl(tmp_path / "bad.jsonl", ["ba"] * 9)
    bad.write_text(bad.read_text() + "{\n")
    with pytest.raises(UserError, match=r"corpus 'b': 1 of 10 rows"):
        prepare("b", Jsonl(path=str(bad)), tiny, tmp_path / "p", 0.05)
    assert [path.name for path in (tmp_path / "p").iterdir()] == [".lock"]
    store = prepare("b", Jsonl(path=str(bad)), tiny, tmp_path / "p", 0.1)
    assert (store.documents, store.manifest["rows"], store.manifest["bad_rows"]) == (9, 10, {"broken JSON": 1})


PREPARE = """
import sys
from pathlib import Path
from rewarm.corpora.jsonl import Jsonl
from rewarm.tokens.prepare import prepare
from rewarm.tokens.tokenizer import TextTokenizer
folder, tokenizer = Path(sys.argv[1]), TextTokenizer(Path(sys.argv[2]))
store = prepare("a", Jsonl(path=str(folder / "a.jsonl")), tokenizer, folder / "prepared", 0.0)
print(store.hash, store.documents)
"""


def test_processes_that_share_a_folder_wait_for_each_other(
    tmp_path: Path, tiny_tokenizer_folder: Path, words: Any, write_jsonl: Any
) -> None:
    write_jsonl(tmp_path / "a.jsonl", [words(seed, 400) for seed in range(300)])
    command = [sys.executable, "-c", PREPARE, str(tmp_path), str(tiny_tokenizer_folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0] for process in running]
    assert said[0].endswith(" 300\n")
    assert said == [said[0]] * 3
    assert len([path for path in (tmp_path / "prepared").iterdir() if path.is_dir()]) == 1


MEMORY = """
import json, resource, sys
from pathlib import Path
from rewarm.corpora.jsonl import Jsonl
from rewarm.tokens.prepare import prepare
from rewarm.tokens.tokenizer import TextTokenizer
folder, tokenizer, text = Path(sys.argv[1]), TextTokenizer(Path(sys.argv[2])), sys.argv[3]
peaks = []
for name, megabytes in (("small", 6), ("large", 36)):
    with (folder / f"{name}.jsonl").open("w") as file:
        for number in range(megabytes * 1_000_000 // 2000):
            start = number * 37 % (len(text) - 2000)
            file.write(json.dumps({"text": text[start : start + 2000]}) + chr(10))
    store = prepare(name, Jsonl(path=str(folder / f"{name}.jsonl")), tokenizer, folder / "prepared", 0.0)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(store.documents, store.tokens, peaks[1] - peaks[0])
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, tiny_tokenizer_folder: Path, words: Any) -> None:
    """30 MB more text (10 million tokens, 80 MB as a list of numbers) take less than 10 MB more memory."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), str(tiny_tokenizer_folder), words(0, 15_000)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    documents, tokens, grown_kib = map(int, done.stdout.split())
    assert documents == 18_000
    assert tokens > 9_000_000
    assert grown_kib < 10_000


def test_identical_runs_give_identical_stores(
    tmp_path: Path, tiny: TextTokenizer, words: Any, write_jsonl: Any
) -> None:
    corpus = Jsonl(path=str(write_jsonl(tmp_path / "a.jsonl", [words(seed, 10) for seed in range(30)])))
    stores = [prepare("a", corpus, tiny, tmp_path / name, 0.0) for name in ("one", "two")]
    assert stores[0].hash == stores[1].hash
    assert np.array_equal(stores[0].hashes, stores[1].hashes)
    assert stores[0].manifest == stores[1].manifest


def test_a_group_field_that_no_document_has_is_refused(
    tmp_path: Path, write_jsonl: Any, tiny_tokenizer_folder: Path
) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", ["one text", "another text"], book=["a", "b"])
    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    corpus = Jsonl(path=str(file), holdout_by="boook")
    with pytest.raises(UserError, match="no document has a field 'boook'"):
        prepare("rows", corpus, tokenizer, tmp_path / "prepared", 0.0)
    assert (
        prepare("rows", Jsonl(path=str(file), holdout_by="book"), tokenizer, tmp_path / "prepared", 0.0).documents == 2
    )
