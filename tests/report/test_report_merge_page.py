"""The page of a merge: every point, the figure's words, text from outside escaped."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rewarm.report.frontier import Merge, MergePoint, marked
from rewarm.report.merge_page import as_change, figure, html, write
from rewarm.report.result import Cell, Column


def cell(relative: float) -> Cell:
    """Against a base's loss of 2 nats per byte; the interval is a percent to either side."""
    return Cell(
        loss=2 + 2 * relative, delta=2 * relative, low=2 * relative - 0.02, high=2 * relative + 0.02, relative=relative,
        verdict="better" if relative < 0 else "worse", documents=3, bytes=30, tokens=9,
    )  # fmt: skip


def point(name: str, weight: float, old: float, new: float) -> MergePoint:
    return MergePoint(
        name=name, weight=weight, members=[name], untouched=weight in (0, 1), weights_sha256="f" * 64,
        cells={"old": cell(old), "law": cell(new)}, old=old, new=new, mean=(old + new) / 2,
    )  # fmt: skip


def merge(**changes: Any) -> Merge:
    points = marked(
        [point("base", 0.0, 0.0, 0.0), point("weight 0.5", 0.5, -0.01, -0.08), point("law", 1.0, 0.2, -0.1)]
    )
    values: dict[str, Any] = {
        "rewarm": "0", "run": "runs/<b>x", "method": "wise-ft", "stage": "law", "prefer": "balanced",
        "max_forgetting": None, "density": None, "seed": 0, "parts": {"base": "a" * 64, "law": "c" * 64},
        "columns": [Column(name="old", role="old"), Column(name="law", role="new")], "points": points,
        "choice": "weight 0.5", "reason": "It is best.", "against_stage": {"old": cell(-0.2), "law": cell(0.02)},
        "barrier": {"old": 0.125, "law": 0.0}, "model": "out/model",
    }  # fmt: skip
    return Merge(**values | changes)


def test_a_change_is_held_against_the_loss_before() -> None:
    change = as_change(cell(-0.08))
    assert (change.point, change.low, change.high) == pytest.approx((-0.08, -0.09, -0.07))


def test_the_figure_says_its_points_in_words() -> None:
    panel = figure(merge())
    assert panel is not None
    assert panel.about == (
        "base: old 0.00%, new 0.00%; weight 0.5: old −1.00%, new −8.00% (on the frontier, chosen); "
        "law: old +20.00%, new −10.00% (on the frontier)"
    )
    for word in ("sweep", "merged", "untouched", "Pareto frontier", "chosen", "base", "0.5", "better"):
        assert f">{word}</text>" in panel.svg


def test_a_figure_needs_old_and_new_text() -> None:
    points = [one.model_copy(update={"old": None}) for one in merge().points]
    assert figure(merge(points=points)) is None
    assert "<svg" not in html(merge(points=points))


def test_the_page_holds_every_point_and_escapes_text_from_outside(tmp_path: Any) -> None:
    found = merge()
    page = write(found, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<tr><th scope=\"row\">", text)) == 3 + 2
    assert "runs/&lt;b&gt;x" in text
    assert "It is best." in text
    assert "law +2.00% [+1.00, +3.00]" in re.sub(r"\s+", " ", text)
    assert "old 0.1250, law 0.0000 nats per byte" in re.sub(r"\s+", " ", text)
    assert text.count(">chosen</span>") == 1
    assert Merge.model_validate_json((tmp_path / "merge.json").read_text(encoding="utf-8")) == found
    assert sorted(file.name for file in tmp_path.iterdir()) == ["merge.html", "merge.json"]


def test_a_merge_without_a_sweep_has_no_barrier_and_the_stage_itself_no_comparison() -> None:
    text = html(merge(barrier=None, against_stage={}))
    assert "Barrier" not in text
    assert "as it is:" not in text
