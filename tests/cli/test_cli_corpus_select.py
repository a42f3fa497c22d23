"""`rewarm corpus select` from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

SELECT = ("corpus", "select")


def ids(file: Path) -> list[str]:
    unpacked = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read_bytes())).read()
    return [json.loads(line)["id"] for line in unpacked.splitlines()]


@pytest.fixture
def asked(texts: dict[str, Path], base: Path, tmp_path: Path) -> tuple[Any, ...]:
    """A selection by similarity, without its budget."""
    return (
        *SELECT, texts["new"], "--task", texts["old"], "--by", "similarity", "--model", base, "--seq-len", "64",
        "--out", tmp_path / "picked.jsonl.zst",
    )  # fmt: skip


def test_it_answers_with_what_was_chosen(asked: tuple[Any, ...], tmp_path: Path, cli: Any) -> None:
    called = cli(*asked, "--budget", "10%", "--soft", "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert found["chosen"]["documents"] == len(ids(tmp_path / "picked.jsonl.zst")) > 5
    assert found["random"]["documents"] == len(ids(tmp_path / "picked-random.jsonl.zst"))
    assert (tmp_path / "picked.provenance.parquet").is_file()
    assert "job" not in found
    shown = cli(*asked, "--budget", "10%", "--soft")
    assert shown.code == 0
    assert "mean similarity" in shown.out
    assert f"of a budget of {found['budget']:,} tokens." in shown.out
    assert "not chosen:" in shown.out
    assert f"provenance: {tmp_path / 'picked.provenance.parquet'}" in shown.out
    assert "is of another selection" in cli(*asked, "--budget", "20%").err


def test_options_of_a_method_are_given_as_in_a_plan(asked: tuple[Any, ...], tmp_path: Path, cli: Any) -> None:
    by = "{type: combined, of: [{type: perplexity, guard: none}, {type: entropy, tagger: classes}]}"
    called = cli(*asked, "--by", by, "--budget", "2k", "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert found["budget"] == 2000
    assert found["chosen"]["mean"].keys() == {"perplexity", "entropy", "score"}
    assert found["notes"] == [
        "entropy over coarse classes of words (case, digits, punctuation, ending), no parts of speech"
    ]


def test_a_dry_run_forecasts_and_writes_nothing(asked: tuple[Any, ...], tmp_path: Path, cli: Any) -> None:
    called = cli(*asked, "--budget", "10%", "--dry-run")
    assert called.code == 0, called.err
    assert called.out.startswith("150 documents of ")
    assert "Nothing was written." in called.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--budget", "many"), "give a whole number such as 500k"),
        (("--budget", "0%"), "--budget.share"),
        (("--budget", "10%", "--by", "similar"), "no selection method is called 'similar'. Did you mean 'similarity'?"),
        (("--budget", "10%", "--by", "{type: loss, keep: best}"), "--by.keep"),
        (("--budget", "10%", "--bad-rows", "many"), "give a share"),
        (("--budget", "10%", "--seq-len", "2"), "give at least 8 tokens"),
        (("--budget", "10%", "--soft", "--gamma", "0"), "--budget.gamma"),
        (("--budget", "10%", "--task", "nowhere.jsonl"), "path 'nowhere.jsonl' does not exist"),
    ],
)
def test_what_is_wrong_is_said(asked: tuple[Any, ...], cli: Any, options: tuple[str, ...], error: str) -> None:
    called = cli(*asked, *options)
    assert called.code == 3, called.err
    assert error in called.err
