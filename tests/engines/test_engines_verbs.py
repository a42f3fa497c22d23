"""What the verbs make is the same, byte for byte and manifest for manifest, in one process, several, and on Ray."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rewarm.corpora.jsonl import Jsonl
from rewarm.difference import run as differing
from rewarm.difference.editions import editions
from rewarm.difference.folder import OutputFolder
from rewarm.engines import Engine
from rewarm.engines.local import Here, Processes
from rewarm.river import selection_scores
from rewarm.river.deduplicating import Deduplicate
from rewarm.river.selecting import Select
from rewarm.selection import cleaning
from rewarm.selection.budget import Budget
from rewarm.selection.cleaning import Settings
from rewarm.selection.entropy import Entropy
from rewarm.selection.ngram_importance import NgramImportance
from rewarm.tokens import prepare as preparing
from rewarm.types import silent

Make = Callable[[Engine | None, Path], None]


@pytest.fixture(scope="module", params=["processes", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "processes":
        yield Processes(2)
        return
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: make test-cluster installs it beside")
    from rewarm.engines.cluster import Cluster

    with Cluster("local", 2) as cluster:
        yield cluster


@pytest.fixture
def texts(tmp_path: Path, words: Any, write_jsonl: Any) -> dict[str, Path]:
    """New text that repeats itself, old text and watched text, of some of which it holds a part."""
    plain = [words(seed, 60) for seed in range(60)]
    watched = [words(1000 + seed, 40) for seed in range(8)]
    new = [*plain, *(f"{text} {words(7, 2)}" for text in plain[:9]), *(f"{words(3, 50)} {one}" for one in watched[:3])]
    changed = [text.replace(".", " and more.", 1) for text in plain]
    return {
        "new": write_jsonl(tmp_path / "new.jsonl", new, source="s"),
        "old": write_jsonl(tmp_path / "old.jsonl", [words(2000 + seed, 50) for seed in range(9)] + plain[20:24]),
        "watched": write_jsonl(tmp_path / "watched.jsonl", watched),
        "before": write_jsonl(tmp_path / "before.jsonl", plain, id=[f"{number:03d}" for number in range(60)]),
        "after": write_jsonl(tmp_path / "after.jsonl", changed, id=[f"{number:03d}" for number in range(60)]),
    }


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (preparing, "BLOCK_CHARACTERS"),
        (cleaning, "BLOCK_CHARACTERS"),
        (differing, "TASK_CHARACTERS"),
    ):
        monkeypatch.setattr(module, name, 2000)
    monkeypatch.setattr(selection_scores, "PART_BYTES", 3000)


def compared(make: Make, engine: Engine, tmp_path: Path, digests: Any) -> dict[str, str]:
    """What is made by default and by the engine, under the same path, since summaries name it; both must be equal."""
    found = []
    for number, one in enumerate((None, engine)):
        make(one, tmp_path / "out")
        found.append(digests(tmp_path / "out"))
        os.rename(tmp_path / "out", tmp_path / f"out-{number}")
    assert found[0] == found[1]
    return dict(found[0])


def test_deduplicate(engine: Engine, texts: dict[str, Path], tmp_path: Path, digests: Any) -> None:
    summaries = []

    def make(one: Engine | None, folder: Path) -> None:
        new, old, watched = (Jsonl(path=str(texts[name]), keep_fields=()) for name in ("new", "old", "watched"))
        job = Deduplicate(new, {"o": old}, {"w": watched}, {}, Settings(0.8, 13), folder / "kept.jsonl.zst")
        summaries.append(job.run(engine=one))

    made = compared(make, engine, tmp_path, digests)
    assert set(made) == {"kept.jsonl.zst", "kept.dropped.jsonl.zst", "kept.json"}
    assert set(summaries[0]["dropped"]) == {
        "near duplicate within", "near duplicate of old o", "shares 13 words with watch w",
    }  # fmt: skip
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize("by", ["entropy", "ngram-importance"])
def test_select(
    by: str, engine: Engine, texts: dict[str, Path], tmp_path: Path, digests: Any, tiny_tokenizer_folder: Path
) -> None:
    def make(one: Engine | None, folder: Path) -> None:
        pool, task = Jsonl(path=str(texts["new"])), Jsonl(path=str(texts["old"]))
        method = Entropy(tagger="classes") if by == "entropy" else NgramImportance()
        out = folder / "picked.jsonl.zst"
        Select(pool, method, Budget(share=0.5), str(tiny_tokenizer_folder), out, folder / "work", task).run(engine=one)

    made = compared(make, engine, tmp_path, digests)
    assert sum(name.endswith(".npy") for name in made) > 4
    assert any(name.endswith("manifest.json") for name in made)


def test_diff(engine: Engine, texts: dict[str, Path], tmp_path: Path, digests: Any) -> None:
    def make(one: Engine | None, folder: Path) -> None:
        old, new = editions(str(texts["before"]), str(texts["after"]), None, None)
        summary = differing.Job(old, new, OutputFolder(folder), differing.Settings()).run(silent, lambda: False, one)
        assert summary["articles"]["changed"] > 50

    assert {"diff.jsonl.zst", "pieces.jsonl.zst", "summary.json"} <= set(compared(make, engine, tmp_path, digests))


def test_a_deduplication_that_was_stopped_goes_on(texts: dict[str, Path], tmp_path: Path, digests: Any) -> None:
    """Blocks that were sketched are not sketched again; the result is that of an undisturbed one."""
    watched = {"w": Jsonl(path=str(texts["watched"]))}
    new = Jsonl(path=str(texts["new"]))

    def job(folder: str) -> Deduplicate:
        return Deduplicate(new, {}, watched, {}, Settings(0.8, 13), tmp_path / folder / "kept.jsonl.zst")

    def stop(label: str, done: float, total: float | None, unit: str) -> None:
        if label == "compare new" and done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job("stopped").run(stop)
    there = {file: file.stat().st_mtime_ns for file in (tmp_path / "stopped").rglob("*.npz")}
    assert len(there) > 5
    seen: dict[Path, int] = {}

    def look(label: str, done: float, total: float | None, unit: str) -> None:
        if label == "write":
            seen.update({file: file.stat().st_mtime_ns for file in (tmp_path / "stopped").rglob("*.npz")})

    job("stopped").run(look, engine=Here())
    assert there.items() <= seen.items()
    assert len(seen) > len(there)
    job("whole").run()
    assert digests(tmp_path / "stopped") == digests(tmp_path / "whole")
