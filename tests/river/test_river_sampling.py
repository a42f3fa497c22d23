"""Estimates from a sample against the whole, which is known here."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from rewarm.corpora import Corpus
from rewarm.methods import build
from rewarm.river import sampling
from rewarm.river.sampling import ASSUMED_BYTES_PER_TOKEN, look
from rewarm.tokens.prepare import prepare
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

Words = Callable[[int, int], str]


@pytest.fixture
def tokenizer(tiny_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer_folder)


@pytest.fixture
def rows(words: Words) -> list[dict[str, str]]:
    """600 rows of 40 words, about 100 kB, with a field beside the text."""
    return [{"text": words(number, 40), "source": "x" * 80} for number in range(600)]


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of 20 kB, so that a fifth of the rows is read."""
    monkeypatch.setattr(sampling, "SAMPLE_BYTES", 20_000)


def corpus(kind: str, path: Path | list[Path], **options: Any) -> Corpus:
    paths = [str(item) for item in path] if isinstance(path, list) else str(path)
    built = build("corpora", {"type": kind, "path": paths, **options})
    assert isinstance(built, Corpus)
    return built


def lines(rows: list[dict[str, str]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def truth(rows: list[dict[str, str]], tokenizer: TextTokenizer) -> tuple[int, int, int]:
    texts = [row["text"] for row in rows]
    return len(texts), sum(len(text.encode()) for text in texts), sum(map(len, tokenizer.encode(texts)))


def test_a_corpus_smaller_than_a_sample_is_known_exactly(
    tmp_path: Path, rows: list[dict[str, str]], tokenizer: TextTokenizer
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    given = corpus("jsonl", tmp_path / "a.jsonl")
    found = look("a", given, 0.25, tokenizer, tmp_path / "prepared", 0.001)
    assert (found.documents, found.bytes, found.tokens) == truth(rows, tokenizer)
    assert (found.whole, found.counted, found.rows, found.bad_rows) == (True, False, 600, {})
    # Two bytes a token below 65,536 ids, and 28 for each document.
    assert found.store_bytes == 2 * found.tokens + 28 * 600
    prepare("a", given, tokenizer, tmp_path / "prepared", 0.001)
    counted = look("a", given, 0.25, tokenizer, tmp_path / "prepared", 0.001)
    assert (counted.counted, counted.tokens, counted.documents) == (True, found.tokens, 600)
    assert counted.trainable == pytest.approx(found.trainable, rel=0.01)
    assert (counted.seconds, counted.store_bytes) == (0.0, 0)


@pytest.mark.usefixtures("small_sample")
@pytest.mark.parametrize("packing", ["plain", "gz", "zst", "bz2", "wiki", "many files", "parquet", "limited"])
def test_the_rest_is_estimated_from_a_sample(
    packing: str, tmp_path: Path, rows: list[dict[str, str]], tokenizer: TextTokenizer
) -> None:
    data = lines(rows)
    given = {
        "plain": lambda: _file(tmp_path / "a.jsonl", data),
        "gz": lambda: _file(tmp_path / "a.jsonl.gz", gzip.compress(data)),
        "zst": lambda: _file(tmp_path / "a.jsonl.zst", zstandard.compress(data)),
        "bz2": lambda: _file(tmp_path / "a.jsonl.bz2", bz2.compress(data)),
        "wiki": lambda: _file(tmp_path / "a.xml.bz2", bz2.compress(_dump(rows))),
        "many files": lambda: [_file(tmp_path / f"{at}.jsonl", lines(rows[at : at + 20])) for at in range(0, 600, 20)],
        "parquet": lambda: _parquet(tmp_path / "a.parquet", rows),
        "limited": lambda: _file(tmp_path / "a.jsonl", data),
    }[packing]()
    options = {"limit": 300} if packing == "limited" else {}
    kind = packing if packing in ("parquet", "wiki") else "jsonl"
    found = look("a", corpus(kind, given, **options), 0.1, tokenizer, None, 0.001)
    documents, text_bytes, tokens = truth(rows[:300] if packing == "limited" else rows, tokenizer)
    assert not found.whole
    assert found.rows < 600
    assert found.documents == pytest.approx(documents, rel=0.03)
    assert found.bytes == pytest.approx(text_bytes, rel=0.03)
    assert found.tokens == pytest.approx(tokens, rel=0.03)
    assert found.trainable == pytest.approx(0.9 * found.tokens, abs=1)


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _dump(rows: list[dict[str, str]]) -> bytes:
    """Pages whose title is the first word and whose text the others, each after a redirect."""
    page = "<page><title>{}</title><ns>0</ns><id>{}</id>{}<revision>\n<text>{}</text>\n</revision>\n</page>\n"
    pages = []
    for number, row in enumerate(rows):
        title, _, text = row["text"].partition(" ")
        pages += [
            page.format("R", f"{number}0", "<redirect/>", "#REDIRECT"),
            page.format(title, f"{number}1", "", text),
        ]
    return f"<mediawiki>\n{''.join(pages)}</mediawiki>".encode()


def _parquet(path: Path, rows: list[dict[str, str]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.usefixtures("small_sample")
def test_folders_of_whole_files(tmp_path: Path, words: Words, tokenizer: TextTokenizer) -> None:
    texts = [words(number, 40 + number % 7) for number in range(300)]
    for number, text in enumerate(texts):
        (tmp_path / f"{number:03}.txt").write_text(text)
    found = look("a", corpus("text", tmp_path), 0.0, tokenizer, None, 0.001)
    assert not found.whole
    assert found.documents == 300
    assert found.bytes == sum(len(text) for text in texts)
    assert found.tokens == pytest.approx(sum(map(len, tokenizer.encode(texts))), rel=0.03)


def test_a_tokenizer_yet_to_be_trained_is_assumed(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    found = look("a", corpus("jsonl", tmp_path / "a.jsonl"), 0.0, None, None, 0.001)
    assert found.tokens == round(found.bytes / ASSUMED_BYTES_PER_TOKEN)


def test_bad_rows_of_a_whole_corpus_are_held_to_the_limit(
    tmp_path: Path, rows: list[dict[str, str]], tokenizer: TextTokenizer
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(rows[:99]) + b"{broken\n")
    given = corpus("jsonl", tmp_path / "a.jsonl")
    with pytest.raises(UserError, match=r"1 of 100 rows \(1 %\) cannot be used, and bad_rows allows 0.5 %"):
        look("a", given, 0.0, tokenizer, None, 0.005)
    found = look("a", given, 0.0, tokenizer, None, 0.01)
    assert (found.documents, found.rows, found.bad_rows) == (99, 100, {"broken JSON": 1})


@pytest.mark.usefixtures("small_sample")
def test_a_few_bad_rows_in_a_sample_may_be_chance_and_many_are_not(
    tmp_path: Path, rows: list[dict[str, str]], tokenizer: TextTokenizer
) -> None:
    (tmp_path / "few.jsonl").write_bytes(b"{broken\n" + lines(rows))
    found = look("few", corpus("jsonl", tmp_path / "few.jsonl"), 0.0, tokenizer, None, 0.005)
    assert found.bad_rows == {"broken JSON": 1}
    (tmp_path / "many.jsonl").write_bytes(b"{broken\n" * 50 + lines(rows))
    with pytest.raises(UserError, match="broken JSON: 50"):
        look("many", corpus("jsonl", tmp_path / "many.jsonl"), 0.0, tokenizer, None, 0.005)


def test_a_corpus_without_one_good_row_is_not_read_to_its_end(
    tmp_path: Path, tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "BAD_ENOUGH", 30)
    (tmp_path / "a.jsonl").write_bytes(b'{"body": "text"}\n' * 1000)
    with pytest.raises(UserError, match=r"30 of 30 rows \(100 %\) cannot be used"):
        look("a", corpus("jsonl", tmp_path / "a.jsonl"), 0.0, tokenizer, None, 0.001)


def test_an_empty_corpus(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n\n")
    with pytest.raises(UserError, match="corpus 'a' is empty: 0 rows read"):
        look("a", corpus("jsonl", tmp_path / "a.jsonl"), 0.0, tokenizer, None, 0.001)
