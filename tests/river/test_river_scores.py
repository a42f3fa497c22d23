"""Scores are kept per document, and made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.models.load import load_model
from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import make_inputs
from rewarm.river.scores import score, totals

MakeValues = Callable[..., dict[str, Any]]


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
