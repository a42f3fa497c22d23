"""Languages and transfers of a run that goes through two orders of its stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.evaluation.loss import load
from rewarm.plan import from_values
from rewarm.report.markdown import markdown
from rewarm.report.page import html
from rewarm.report.result import read
from rewarm.river.comparison import compare
from rewarm.river.run import report
from rewarm.river.variants import arms


@pytest.fixture(scope="module")
def compared(values_in: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Folder and value of a comparison of two orders, with the control alone; one seed. Read only."""
    root = tmp_path_factory.mktemp("orders") / "run"
    stages = [{"name": name, "data": name, "tokens": 1024} for name in ("law", "code")]
    plan = from_values(values_in(root, stages, controls=["alone"], languages={"law": "en"}, eval_every=0))
    return root, compare(plan, arms(plan, {"order": [2]}, factors=[1.0]), seeds=1, output=root)


def loss(run: Path, model: str, corpus: str) -> float:
    return load(run / "evaluations" / model / f"{corpus}.npz").per_byte


def test_transfers_are_differences_of_the_losses_on_disk(compared: tuple[Path, Any]) -> None:
    root, _ = compared
    run = root / "arms" / "plan" / "seed-1"
    held = read(run).languages
    assert held is not None
    found = {(one.kind, one.stage, one.corpus): one for one in held.transfers}
    assert set(found) == {
        ("backward", "law", "old"), ("backward", "code", "old"), ("backward", "code", "law"),
        ("forward", "code", "code"),
    }  # fmt: skip
    before, after = (loss(run, model, "law") for model in ("stage-1-law", "stage-2-code"))
    assert found["backward", "code", "law"].value == pytest.approx(before - after)
    alone = loss(run / "controls" / "alone", "stage-1-code", "code")
    assert found["forward", "code", "code"].value == pytest.approx(alone - loss(run, "stage-2-code", "code"))
    one = found["backward", "code", "law"]
    assert one.low <= one.value <= one.high
    names = [corpus.name for corpus in held.corpora]
    assert one.distance == held.distances[names.index("code")][names.index("law")]
    assert {corpus.name: corpus.expected for corpus in held.corpora} == {"old": None, "law": "en", "code": None}


def test_reports_show_it_and_only_where_it_is_asked(compared: tuple[Path, Any]) -> None:
    root, _ = compared
    result = read(root / "arms" / "plan" / "seed-1")
    assert 'id="languages"' in html(result)
    assert "### Transfer between stages" in markdown(result)
    without = result.model_copy(update={"languages": None})
    assert 'id="languages"' not in html(without)
    assert "## Languages" not in markdown(without)


def test_detected_lines_are_kept_beside_the_corpora(
    compared: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = compared
    run = root / "arms" / "plan" / "seed-1"
    before = read(run).languages

    def refuse() -> Any:
        return lambda line: pytest.fail(f"'{line}' is detected again")

    monkeypatch.setattr("rewarm.river.languages.detector", refuse)
    assert report(run).languages == before


def test_orders_stand_side_by_side(compared: tuple[Path, Any]) -> None:
    root, comparison = compared
    assert [arm.name for arm in comparison.arms] == ["plan", "order code-law"]
    held = dict(comparison.transfers())
    assert {(one.kind, one.stage, one.corpus) for one in held["order code-law"]} == {
        ("backward", "code", "old"), ("backward", "law", "old"), ("backward", "law", "code"),
        ("forward", "law", "law"),
    }  # fmt: skip
    assert "Transfer between stages" in (root / "comparison.html").read_text(encoding="utf-8")
