"""Scores are kept per document, and made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.kept import read_kept
from rewarm.models.load import load_model
from rewarm.plan import from_values
from rewarm.report.result import Result
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import make_inputs
from rewarm.river.run import run
from rewarm.river.scores import score, totals
from rewarm.river.train import Hooks

MakeValues = Callable[..., dict[str, Any]]
Told = list[tuple[str, float, float | None]]


def test_each_watched_corpus_is_scored_once(make_values: MakeValues, base: Path, tmp_path: Path) -> None:
    plan = from_values(make_values([{"name": "law", "data": "law"}]))
    inputs = make_inputs(plan, RunDirectory(plan.directory))
    model = load_model(str(base))
    told: list[tuple[str, float, float | None]] = []
    folder = tmp_path / "base"
    first = score(model, inputs, folder, tell=lambda label, done, total, unit: told.append((label, done, total)))
    assert {label for label, _, _ in told} == {f"score base on {name}" for name in ("old", "law", "code")}
    assert all(done <= (total or 0) for _, done, total in told)
    for corpus, losses in first.items():
        documents = inputs.watch_documents[corpus]
        assert losses.bytes_D.tolist() == inputs.stores[corpus].bytes[documents].tolist()
        assert losses.tokens_D.sum() == inputs.stores[corpus].lengths[documents].sum() - len(documents)
    told.clear()
    (folder / "law.npz").unlink()
    again = score(model, inputs, folder, tell=lambda label, done, total, unit: told.append((label, done, total)))
    assert {label for label, _, _ in told} == {"score base on law"}
    assert all(np.array_equal(again[name].nats_D, first[name].nats_D) for name in first)
    assert totals(first)["old"] == pytest.approx(first["old"].nats_D.sum() / first["old"].bytes_D.sum())


def scored(told: Told) -> set[str]:
    return {label for label, _, _ in told if label.startswith("score ")}


def run_told(values: dict[str, Any]) -> tuple[Result, Told]:
    told: Told = []
    hooks = Hooks(tell=lambda label, done, total, unit: told.append((label, done, total)))
    return run(from_values(values), hooks), told


def test_another_plan_with_the_same_base_does_not_score_it_again(values_in: MakeValues, tmp_path: Path) -> None:
    """Both share their prepared tokens. The second plan trains another stage, watches one corpus at another budget."""
    shared = {"prepared_dir": str(tmp_path / "prepared"), "eval_every": 0, "controls": []}
    first, told = run_told(values_in(tmp_path / "first", [{"name": "law", "data": "law"}], **shared))
    assert {f"score base on {name}" for name in ("old", "law", "code")} <= scored(told)
    watch = ["old", "law", {"corpus": "code", "tokens": 300}]
    values = values_in(tmp_path / "second", [{"name": "code", "data": "code"}], **shared, watch=watch)
    second, told = run_told(values)
    legs = {f"score stage-1-code on {name}" for name in ("old", "law", "code")}
    assert scored(told) == {"score base on code", *legs}
    for name in ("old", "law"):
        assert second.rows[0].cells[name].loss == first.rows[0].cells[name].loss
    assert not [note for note in second.notes if "damaged" in note]


def test_a_damaged_entry_is_scored_again_with_a_note(make_values: MakeValues, base: Path, tmp_path: Path) -> None:
    plan = from_values(make_values([{"name": "law", "data": "law"}]))
    directory = RunDirectory(plan.directory)
    inputs = make_inputs(plan, directory)
    model = load_model(str(base))
    first = score(model, inputs, tmp_path / "first", weights="abc")
    entries = sorted((directory.prepared / "scores").iterdir())
    assert len(entries) == 3
    damaged = next(file for file in entries if file.name.startswith("law-"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    told: Told = []
    again = score(
        model, inputs, tmp_path / "again", lambda label, done, total, unit: told.append((label, done, total)), "abc"
    )
    assert scored(told) == {"score again on law"}
    assert [note for note in inputs.notes if "damaged" in note and str(damaged) in note]
    assert all(np.array_equal(again[name].nats_D, first[name].nats_D) for name in first)
    assert read_kept(damaged, inputs.stores["law"], inputs.watch_documents["law"]) is not None


def test_scores_of_weights_without_a_name_are_not_kept(make_values: MakeValues, base: Path, tmp_path: Path) -> None:
    plan = from_values(make_values([{"name": "law", "data": "law"}]))
    directory = RunDirectory(plan.directory)
    score(load_model(str(base)), make_inputs(plan, directory), tmp_path / "during")
    assert not (directory.prepared / "scores").exists()
