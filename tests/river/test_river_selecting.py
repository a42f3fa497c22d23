"""A pool on disk -> what is chosen of it: files, provenance, control, and that stopped scorings go on."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import zstandard

from rewarm.methods import build
from rewarm.river import selection_scores
from rewarm.river.selecting import Select
from rewarm.river.selection_scores import TASK_DOCUMENTS, Task
from rewarm.river.stale_documents import Text
from rewarm.selection.budget import Budget
from rewarm.types import Stopped, UserError

MakeSelect = Callable[..., Select]


def lines(file: Path) -> list[dict[str, Any]]:
    unpacked = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read_bytes())).read()
    return [json.loads(line) for line in unpacked.splitlines()]


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> tuple[Path, Path]:
    """A pool of 80 documents of the base's words and 40 of figures, and a task of 10 documents of such words."""
    folder = tmp_path_factory.mktemp("pool")
    texts = [words(5000 + number, 30) for number in range(80)]
    texts += [" ".join(str(number * place) for place in range(20)) for number in range(40)]
    sources = ["words"] * 80 + ["figures"] * 40
    names = [f"d{number}" for number in range(120)]
    rows = write_jsonl(folder / "pool.jsonl", texts, source=sources, id=names, note=[{"n": n} for n in range(120)])
    task = write_jsonl(folder / "task.jsonl", [words(9000 + number, 30) for number in range(10)])
    return rows, task


@pytest.fixture
def make(pool: tuple[Path, Path], base: Path, tmp_path: Path) -> MakeSelect:
    """A function: method, **changes -> the job that takes a tenth of the pool by it."""

    def job(by: Any, **changes: Any) -> Select:
        rows, task = pool
        given: dict[str, Any] = {
            "pool": build("corpora", {"type": "jsonl", "path": str(rows)}), "method": build("selection", by),
            "task": build("corpora", {"type": "jsonl", "path": str(task)}), "budget": Budget(share=0.1),
            "model": str(base), "out": tmp_path / "picked.jsonl.zst", "work": tmp_path / "work", "seq_len": 64,
            "precision": "fp32",
        }  # fmt: skip
        return Select(**{**given, **changes})

    return job


def test_what_is_like_the_task_is_chosen_with_all_its_fields(make: MakeSelect) -> None:
    job = make("similarity")
    summary = job.run()
    rows, chance = lines(job.out), lines(job.output.control)
    assert {row["source"] for row in rows} == {"words"}
    assert {row["source"] for row in chance} == {"words", "figures"}
    assert all(row["id"] == f"d{row['note']['n']}" and row.keys() == {"id", "text", "source", "note"} for row in rows)
    assert [row["note"]["n"] for row in rows] == sorted(row["note"]["n"] for row in rows)
    assert summary["chosen"]["documents"] == len(rows)
    assert 0 <= summary["budget"] - summary["chosen"]["tokens"] < 200
    assert 0 <= summary["chosen"]["tokens"] - summary["random"]["tokens"] < 200
    assert summary["chosen"]["mean"]["similarity"] > summary["random"]["mean"]["similarity"]
    sources = {held["source"]: held for held in summary["sources"]}
    assert sources["words"]["documents"] == {
        "pool": 80, "chosen": len(rows), "random": sum(row["source"] == "words" for row in chance),
    }  # fmt: skip
    both = {row["id"] for row in rows} & {row["id"] for row in chance}
    assert summary["in_random_too"]["documents"] == len(both)
    assert summary["hashes"].keys() == {"pool", "task", "tokenizer", "model"}
    assert json.loads(job.output.summary.read_text()) == summary


def test_the_provenance_holds_every_document_and_why(make: MakeSelect) -> None:
    job = make({"type": "perplexity", "guard": [0, 0.9]})
    summary = job.run()
    table = pyarrow.parquet.read_table(job.output.provenance)
    held = table.to_pydict()
    assert held["id"] == [f"pool.jsonl:{number}" for number in range(1, 121)]
    chosen = {row["id"] for row in lines(job.out)}
    assert [f"d{n}" in chosen for n in range(120)] == held["chosen"]
    assert sum(held["tokens"]) == summary["pool"]["tokens"]
    assert sorted(held["rank"]) == list(range(120))
    best = int(np.argmin(held["rank"]))
    assert held["chosen"][best]
    assert held["score"][best] == max(
        score for score, aside in zip(held["score"], held["aside"], strict=True) if not aside
    )
    assert held["aside"].count("perplexity above the guard band") == 12 == sum(summary["aside"].values())
    assert set(held["why"]) == {"chosen", "the budget ends before it"}
    assert json.loads(table.schema.metadata[b"rewarm"])["job"] == job.described() == summary["job"]


def test_scores_serve_other_budgets_and_judgements(make: MakeSelect, tmp_path: Path) -> None:
    make("perplexity").run()
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "work" / "scores").rglob("*.npy")}
    assert files
    for number, by in enumerate((
        {"type": "perplexity", "guard": "none"}, {"type": "combined", "of": ["perplexity", "random"]},
    )):  # fmt: skip
        out = tmp_path / f"other-{number}.jsonl.zst"
        make(by, out=out, budget=Budget(tokens=500, soft=True), seed=3).run()
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "work" / "scores").rglob("*.npy")} == files


def test_a_stopped_scoring_goes_on_and_ends_as_an_unbroken_one(
    make: MakeSelect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection_scores, "PART_BYTES", 4000)
    by = {"type": "combined", "of": ["similarity", "perplexity", {"type": "entropy", "tagger": "classes"}]}
    unbroken = make(by, out=tmp_path / "whole" / "picked.jsonl.zst", work=tmp_path / "whole" / "work")
    unbroken.run()
    job = make(by)
    told: list[float] = []

    def stop(label: str, done: float, total: float | None, unit: str) -> None:
        told.append(done) if label == "score pool" else None
        if len(told) == 3:
            raise Stopped("now")

    with pytest.raises(Stopped):
        job.run(stop)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*.npy")}
    assert len(before) == 6  # two parts of each of three methods
    assert not job.out.exists()
    told.clear()
    job.run(lambda label, done, total, unit: told.append(done) if label == "score pool" else None)
    assert told[0] > 0  # it goes on behind the parts that are whole
    after = {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*.npy")}
    assert all(after[file] == changed for file, changed in before.items())
    assert len(after) == 15
    for mine, other in zip(dataclasses.astuple(job.output)[:3], dataclasses.astuple(unbroken.output)[:3], strict=True):
        assert mine.read_bytes() == other.read_bytes() or mine.suffix == ".parquet"
    tables = [pyarrow.parquet.read_table(one.output.provenance).to_pydict() for one in (job, unbroken)]
    assert tables[0] == tables[1]
    monkeypatch.undo()
    assert job.run(stop) == job.finished()  # finished: nothing is read again


def test_another_order_of_the_pool_chooses_the_same_texts(
    make: MakeSelect, pool: tuple[Path, Path], tmp_path: Path
) -> None:
    rows = pool[0].read_text(encoding="utf-8").splitlines()
    for name, part in (("b", rows[:50]), ("a", rows[50:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{row}\n" for row in part), encoding="utf-8")
    shards = build("corpora", {"type": "jsonl", "path": [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]})
    # Numbers that do not depend on which documents a forward pass holds, to the last bit.
    by = {"type": "combined", "of": ["ngram-importance", {"type": "entropy", "tagger": "classes"}]}
    one = make(by, budget=Budget(share=0.2, soft=True))
    other = make(by, budget=Budget(share=0.2, soft=True), pool=shards, out=tmp_path / "other.jsonl.zst")
    one.run()
    other.run()
    assert {row["id"] for row in lines(one.out)} == {row["id"] for row in lines(other.out)}
    assert {row["id"] for row in lines(one.output.control)} == {row["id"] for row in lines(other.output.control)}


def test_a_forecast_writes_nothing(make: MakeSelect, tmp_path: Path) -> None:
    found = make("combined").outlook()
    assert (found.documents, found.chosen_tokens) == (120, round(0.1 * found.tokens))
    assert found.rate > 0
    assert found.seconds > 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said(make: MakeSelect, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compares with a task's text"):
        make("similarity", task=None)
    with pytest.raises(UserError, match=r"ends with .jsonl.zst"):
        make("random", out=tmp_path / "picked.json")
    with pytest.raises(UserError, match="is more than the"):
        make("random", budget=Budget(tokens=10**9)).run()
    make("random").run()
    with pytest.raises(UserError, match="is of another selection"):
        make("random", seed=1).run()
    with pytest.raises(UserError, match="no vector in the field 'vector'"):
        make({"type": "similarity", "column": "vector"}, out=tmp_path / "more.jsonl.zst").run()


def test_of_a_large_task_a_part_is_taken_by_hash() -> None:
    class Many:
        hashes = np.arange(10 * TASK_DOCUMENTS, dtype=np.uint64)

    text = Text("task", Many(), None, None)  # type: ignore[arg-type]
    task = Task.of(text, np.arange(0, 10 * TASK_DOCUMENTS, 2))
    assert len(task.documents) == TASK_DOCUMENTS
    assert (np.diff(task.documents) > 0).all()
    assert (task.documents % 2 == 0).all()
    assert len(Task.of(text, np.arange(7)).documents) == 7
