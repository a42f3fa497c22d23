"""Forecast against outcome, in the page, the Markdown and the JSON."""

from __future__ import annotations

from typing import Any

import pytest

from rewarm.report.foretold import held_against, sentences
from rewarm.report.markdown import markdown
from rewarm.report.page import html
from rewarm.report.result import Result


@pytest.fixture
def foretold(normal: Result) -> Result:
    """The normal run, whose plan expected 2.1 % forgetting of web rightly, and a gain on code wrongly."""
    expected: dict[str, Any] = {
        "changes": {
            "web": {"point": 0.015, "low": 0.0, "high": 0.025, "law": "power"},
            "code": {"point": -0.4, "low": -0.5, "high": -0.3, "law": "d-cpt"},
        },
        "confidence": 0.95, "max_forget": 0.02, "seconds": 60.0, "pilots": "runs/x-pilots", "stage": None,
    }  # fmt: skip
    return held_against(normal.model_copy(update={"plan": {**normal.plan, "forecast": expected}}))


def test_inside_and_outside_are_told_apart(foretold: Result) -> None:
    told = foretold.forecast
    assert told is not None
    assert {one.corpus: (one.inside, one.outcome) for one in told.corpora} == {
        "web": (True, pytest.approx(0.021)), "code": (False, pytest.approx(-0.2)),
    }  # fmt: skip
    said = " ".join(sentences(told))
    assert "1 of 2 forecasts came out inside the 95% interval; outside: code." in said
    assert "Old text was to lose no more than +2.00%: not kept for web." in said
    assert "Training was to take 1 min 00 s and took " in said


def test_page_markdown_and_json_show_it(foretold: Result) -> None:
    page, text = html(foretold), markdown(foretold)
    assert '<section id="forecast"' in page
    assert '<span class="tag warn">outside</span>' in page
    assert "## Forecast and outcome" in text
    assert "| web | old | +1.50% \\[0.00, +2.50\\] | +2.10% \\[+1.80, +2.40\\] | inside | power |" in text
    again = Result.model_validate_json(foretold.model_dump_json())
    assert again.forecast == foretold.forecast


def test_a_plan_that_was_changed_is_told(foretold: Result) -> None:
    assert foretold.forecast is not None
    assert foretold.forecast.changed == []
    spoken = {"learning_rate": 1e-3, "replay": 0.05, "tokens": 20_000_000, "seq_len": 8, "batch_tokens": 16}
    stage = {"learning_rate": 1e-3, "replay": {"share": 0.05}, "tokens": 8_000_000}
    stages = [{**one, **stage} for one in foretold.plan["stages"]]
    told_of = {**foretold.plan["forecast"], "speaks_of": spoken}
    plan = {**foretold.plan, "seq_len": 8, "batch_tokens": 16, "stages": stages, "forecast": told_of}
    told = held_against(foretold.model_copy(update={"plan": plan})).forecast
    assert told is not None
    assert told.changed == ["tokens is 16000000 and was 20000000"]
    assert sentences(told)[-1].startswith("The plan was changed since; the forecast does not speak of this run: tokens")


def test_a_stage_added_later_is_not_what_was_forecast(foretold: Result) -> None:
    expected = {**foretold.plan["forecast"], "stage": foretold.rows[1].stage}
    held = held_against(foretold.model_copy(update={"plan": {**foretold.plan, "forecast": expected}}))
    assert held.forecast is not None
    assert held.forecast.corpora[0].outcome == pytest.approx(foretold.rows[1].cells["web"].relative)


def test_without_a_forecast_or_an_end_nothing_is_claimed(normal: Result, foretold: Result) -> None:
    assert held_against(normal) is normal
    assert "Forecast and outcome" not in html(normal) + markdown(normal)
    unfinished = held_against(foretold.model_copy(update={"complete": False}))
    assert unfinished.forecast is not None
    assert all(one.inside is None for one in unfinished.forecast.corpora)
    assert sentences(unfinished.forecast) == ["The run is not complete, so the forecast has no outcome yet."]
    assert "not known yet" in html(unfinished)
