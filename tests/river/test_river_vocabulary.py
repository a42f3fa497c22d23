"""Vocabulary of a stream: counted by hand on a few words, kept beside the corpora, shown in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.plan import Plan, from_values
from rewarm.report.page import html
from rewarm.report.result import Result
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.vocabulary import piece_counts, sample_words, vocabulary
from rewarm.tokens.prepare import prepare
from rewarm.tokens.tokenizer import TextTokenizer

TEXTS = {
    "old": ["ba ke. ba ke!", "lo mi"],
    "first": ["ba ke ba zu", "Lo, zu"],
    "second": ["ba zu shi tra"],
}


@pytest.fixture
def made(tmp_path: Path, tiny_tokenizer_folder: Path, write_jsonl: Any) -> tuple[Plan, Inputs, RunDirectory]:
    """Plan, inputs and directory of two stages after an old corpus, of which nothing was run."""
    files = {name: write_jsonl(tmp_path / f"{name}.jsonl", texts) for name, texts in TEXTS.items()}
    plan = from_values(
        {
            "base": str(tmp_path),
            "output_dir": str(tmp_path / "run"),
            "corpora": {name: str(file) for name, file in files.items()},
            "stages": [
                {"name": name, "data": name, "tokens": 2048, "learning_rate": 1e-3, "max_epochs": 99}
                for name in ("first", "second")
            ],
            "watch": ["old"],
            "seq_len": 64,
            "batch_tokens": 256,
        }
    )
    inputs, run = Inputs(plan, TextTokenizer(tiny_tokenizer_folder)), RunDirectory.of(plan)
    for name, corpus in plan.corpora.items():
        inputs.stores[name] = prepare(name, corpus, inputs.tokenizer, run.prepared, 0.0)  # type: ignore[arg-type]
    return plan, inputs, run


def test_words_and_pieces_by_hand(made: tuple[Plan, Inputs, RunDirectory]) -> None:
    """The first stage has 6 words, of which the two `zu` are new; the second 4, of which `shi` and `tra` are."""
    plan, inputs, run = made
    found = vocabulary(plan, inputs, run)
    assert found.against == ["old"]
    first, second = found.stages
    assert (first.words, first.new_words) == (6, pytest.approx(1000 * 2 / 6))
    assert (second.words, second.new_words) == (4, pytest.approx(1000 * 2 / 4))

    ids = {name: [i for row in inputs.tokenizer.encode(texts) for i in row.tolist()] for name, texts in TEXTS.items()}
    new = set(ids["first"]) - set(ids["old"])
    assert first.new_pieces == len(new) > 0
    assert first.new_share == pytest.approx(sum(i in new for i in ids["first"]) / len(ids["first"]))
    assert second.new_pieces == len(set(ids["second"]) - set(ids["first"]) - set(ids["old"]))
    written = sum(len(text) for text in TEXTS["first"])
    assert first.tokens_per_byte == pytest.approx((len(ids["first"]) - 2 * len(TEXTS["first"])) / written)


def test_without_old_text_the_first_stage_is_held_against_nothing(made: tuple[Plan, Inputs, RunDirectory]) -> None:
    plan, inputs, run = made
    del inputs.stores["old"]
    found = vocabulary(plan, inputs, run)
    assert found.against == []
    assert (found.stages[0].new_pieces, found.stages[0].new_words) == (None, None)
    assert found.stages[1].new_words == pytest.approx(1000 * 2 / 4)


def test_it_is_counted_once_for_the_same_text(made: tuple[Plan, Inputs, RunDirectory]) -> None:
    plan, inputs, run = made
    first = vocabulary(plan, inputs, run)
    (file,) = run.prepared.glob("vocabulary-*.json")
    told = first.model_copy(update={"size": 12345})
    file.write_text(told.model_dump_json(), encoding="utf-8")
    assert vocabulary(plan, inputs, run) == told
    file.write_text("{", encoding="utf-8")
    assert vocabulary(plan, inputs, run) == first


def test_counts_and_samples_of_a_longer_corpus(
    tmp_path: Path, tiny_tokenizer_folder: Path, words: Any, write_jsonl: Any
) -> None:
    from rewarm.corpora.jsonl import Jsonl

    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    corpus = Jsonl(path=str(write_jsonl(tmp_path / "long.jsonl", [words(seed, 50) for seed in range(100)])))
    store = prepare("long", corpus, tokenizer, tmp_path, 0.0)
    counts_V = piece_counts(store, tokenizer.vocab_size)
    assert int(counts_V.sum()) == store.tokens
    assert int(counts_V[tokenizer.eos_id]) == 100
    sample = sample_words(store, tokenizer, tokens=store.tokens // 10)
    assert sample == sample_words(store, tokenizer, tokens=store.tokens // 10)
    assert np.isclose(len(sample), 500, rtol=0.05)
    assert not any(word.endswith(".") for word in sample)


def test_the_report_shows_it(stream: tuple[Path, Result]) -> None:
    root, result = stream
    assert result.vocabulary is not None
    assert [one.stage for one in result.vocabulary.stages] == ["law", "code"]
    assert 'id="vocabulary"' in html(result)
    assert "new words per 1,000" in (root / "report.md").read_text(encoding="utf-8")
    assert 'id="vocabulary"' not in html(result.model_copy(update={"vocabulary": None}))
