"""`rewarm corpus deduplicate` from the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

DEDUPLICATE = ("corpus", "deduplicate")


def rows(file: Path) -> list[dict[str, Any]]:
    unpacked = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read_bytes())).read()
    return [json.loads(line) for line in unpacked.splitlines()]


@pytest.fixture
def asked(words: Callable[[int, int], str], write_jsonl: Callable[..., Path], tmp_path: Path) -> tuple[Any, ...]:
    """Ten documents of which one is like old text, one like another, one quotes held-out text, and one answers."""
    old, watched, new = ([words(100 * place + number, 60) for number in range(8)] for place in (1, 2, 3))
    quote = f"A first sentence. He said that {' '.join(watched[3].replace('.', '').split()[:14])}. A last one."
    texts = [
        *new[:6],
        f"{old[0]} more",
        f"more {new[0]}",
        f"{new[6]}. {quote}",
        f"{new[7]}. Lomi has Bake for a mayor.",
    ]
    probe = {"id": "1", "subject": "Lomi", "relation": "mayor", "label": "new", "object": "Bake for a mayor",
             "prompt": "Lomi has", "suffix": "."}  # fmt: skip
    (tmp_path / "towns.jsonl").write_text(json.dumps(probe) + "\n", encoding="utf-8")
    return (
        *DEDUPLICATE, write_jsonl(tmp_path / "new.jsonl", texts, source=[str(number) for number in range(10)]),
        "--against", write_jsonl(tmp_path / "old.jsonl", old),
        "--against-watch", write_jsonl(tmp_path / "held.jsonl", watched),
        "--against-probes", tmp_path / "towns.jsonl",
        "--out", tmp_path / "clean.jsonl.zst",
    )  # fmt: skip


def test_it_writes_what_is_kept_and_why_the_rest_goes(asked: tuple[Any, ...], tmp_path: Path, cli: Any) -> None:
    called = cli(*asked, "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert found["dropped"] == {
        "near duplicate within": 1, "near duplicate of old old.jsonl": 1, "shares 13 words with watch held.jsonl": 1,
        "shares 13 words with probes towns.jsonl": 1,
    }  # fmt: skip
    assert found["documents"] == found["kept"] + sum(found["dropped"].values()) == 10
    kept, gone = rows(tmp_path / "clean.jsonl.zst"), rows(tmp_path / "clean.dropped.jsonl.zst")
    assert len(kept) == found["kept"]
    assert [row["source"] for row in kept] == sorted(row["source"] for row in kept)
    assert {row["id"] for row in kept}.isdisjoint(row["id"] for row in gone)
    by_reason = {row["reason"]: row for row in gone}
    assert by_reason["near duplicate of old old.jsonl"]["of"] == "old.jsonl:1"
    assert by_reason["near duplicate within"]["similarity"] > 0.9
    assert by_reason["shares 13 words with watch held.jsonl"]["words"] == 14
    assert json.loads((tmp_path / "clean.json").read_text())["kept"] == found["kept"]
    shown = cli(*asked)
    assert "left out: near duplicate of old old.jsonl" in shown.out
    assert f"dropped: {tmp_path / 'clean.dropped.jsonl.zst'}" in shown.out


def test_passages_can_be_cut_instead(asked: tuple[Any, ...], tmp_path: Path, cli: Any) -> None:
    found = cli(*asked, "--cut", "--json").json()
    assert found["kept"] == 8
    assert sum(found["cut"].values()) == 2
    kept = {row["source"]: row["text"] for row in rows(tmp_path / "clean.jsonl.zst")}
    assert kept["8"].endswith("A first sentence. A last one.")
    assert "mayor" not in kept["9"]
    cut = [row for row in rows(tmp_path / "clean.dropped.jsonl.zst") if row.get("cut")]
    assert [row["place"] for row in cut] == [8, 9]


def test_a_dry_run_counts_and_writes_nothing(asked: tuple[Any, ...], tmp_path: Path, cli: Any) -> None:
    before = sorted(tmp_path.iterdir())
    called = cli(*asked, "--dry-run")
    assert called.code == 0
    assert "Nothing was written." in called.out
    assert sorted(tmp_path.iterdir()) == before
    assert cli(*asked, "--dry-run", "--threshold", "off", "--ngram", "off", "--json").json()["kept"] == 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threshold", "0.1"], "give a share from 0.5 to 1"),
        (["--threshold", "much"], "--threshold much"),
        (["--ngram", "2"], "give 5 to 100 words"),
        (["--out", "clean.jsonl"], "ends with .jsonl.zst"),
        (["--against", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_is_wrong_is_named_before_any_work(
    asked: tuple[Any, ...], options: list[str], said: str, tmp_path: Path, cli: Any
) -> None:
    called = cli(*asked, *options)
    assert called.code == 3
    assert said in called.err
    assert not (tmp_path / "clean.jsonl.zst").exists()
