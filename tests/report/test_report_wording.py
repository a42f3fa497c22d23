"""Numbers as text, mean changes by hand, and the verdict sentence."""

import math

import pytest

from rewarm.report import wording
from rewarm.report.markdown import markdown
from rewarm.report.meanings import limits, metric_lines
from rewarm.report.page import html
from rewarm.report.result import Cell, Result, Row
from rewarm.report.wording import Change


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        (1.234, 2, "+1.23"),
        (-1.234, 1, "−1.2"),
        (0.0, 2, "0.00"),
        (-0.001, 2, "0.00"),
        (math.inf, 2, "+∞"),
        (-math.inf, 2, "−∞"),
        (math.nan, 2, "n/a"),
    ],
)
def test_signed(number: float, digits: int, text: str) -> None:
    assert wording.signed(number, digits) == text


def test_a_point_and_its_bounds_have_the_same_decimals() -> None:
    assert wording.percent_with_interval(Change(-0.0825, -0.0851, -0.08)) == "−8.25% [−8.51, −8.00]"
    assert wording.percent_with_interval(Change(-0.0994, -0.1012, -0.0976)) == "−9.9% [−10.1, −9.8]"
    assert wording.percent_with_interval(Change(0.01, -math.inf, math.inf)) == "+1.00% [−∞, +∞]"
    assert wording.percent_with_interval(None) == "not scored"


def test_listed() -> None:
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"


def test_change_is_relative_to_the_base(normal: Result) -> None:
    found = wording.change(normal, normal.rows[2], "web")
    assert found == Change(0.021, pytest.approx(0.018), pytest.approx(0.024))  # type: ignore[arg-type]


def test_mean_change_adds_half_widths_in_squares(normal: Result) -> None:
    """web +2.1 (0.3) and books -0.2 (0.4): mean 0.95, half-width sqrt(0.09 + 0.16) / 2 = 0.25."""
    found = wording.mean_change(normal, normal.rows[2], "old")
    assert found is not None
    assert (found.point, found.low, found.high) == (
        pytest.approx(0.0095), pytest.approx(0.0070), pytest.approx(0.0120),
    )  # fmt: skip


def test_a_stage_is_shown_with_what_held_the_old_and_with_its_adapter(normal: Result) -> None:
    first = {"name": "papers-stage", "retention": [{"type": "ewc"}, {"type": "ema"}], "adapter": {"type": "lora"}}
    second = {"name": "code-stage", "retention": [], "adapter": None}
    result = normal.model_copy(update={"plan": {"stages": [first, second]}})
    rows = {row.name: row for row in result.rows}
    control = rows["joint"].model_copy(update={"stage": "papers-stage"})
    assert wording.methods(result, rows["papers-stage"]) == "ewc + ema, lora"
    assert wording.methods(result, rows["code-stage"]) == ""
    assert wording.methods(result, rows["base"]) == ""
    assert wording.methods(result, control) == ""
    assert "papers-stage (ewc + ema, lora) | 10M" in markdown(result)
    assert "10M tokens, ewc + ema, lora</span>" in html(result)


def test_old_columns_come_first(normal: Result) -> None:
    assert [column.name for column in wording.columns(normal)] == ["web", "books", "papers", "code"]


def test_strength_has_four_steps_and_noise_has_none(normal: Result) -> None:
    cells = normal.rows[2].cells
    assert {name: wording.strength(cell) for name, cell in cells.items()} == {
        "web": 2, "books": 0, "papers": 3, "code": 4,
    }  # fmt: skip


def test_verdict_of_a_complete_run(normal: Result) -> None:
    assert wording.verdict_sentence(normal) == (
        "After 2 stages and 20M tokens, the model learned code (−20.0% [−21.0, −19.0]) and papers "
        "(−8.00% [−8.60, −7.40]). On old text it forgot some of web (+2.10% [+1.80, +2.40]); "
        "it shows no change beyond noise on books (−0.20% [−0.60, +0.20])."
    )


def test_verdict_of_a_run_cut_short(normal: Result) -> None:
    cut = normal.model_copy(update={"complete": False, "rows": normal.rows[:2]})
    sentence = wording.verdict_sentence(cut)
    assert sentence.startswith(
        "This run is not complete. After 1 of 2 planned stages and 10M tokens, the model learned"
    )


def test_verdict_before_any_stage(minimal: Result) -> None:
    assert wording.verdict_sentence(minimal) == (
        "This run is not complete. No stage has finished yet: only the untouched base was scored."
    )


def test_verdict_without_new_text_says_so(normal: Result) -> None:
    old_only = normal.model_copy(update={"columns": wording.columns(normal, "old")})
    assert "what the model learned is not known" in wording.verdict_sentence(old_only)
    new_only = normal.model_copy(update={"columns": wording.columns(normal, "new")})
    assert "What it forgot is not known" in wording.verdict_sentence(new_only)


def test_verdict_counts_what_it_does_not_name(normal: Result) -> None:
    """Five new corpora that fell by 1 to 5 percent: the largest three are named."""
    base = {f"n{index}": normal.rows[0].cells["papers"] for index in range(1, 6)}
    cells = {
        name: base[name].model_copy(update={"relative": -index / 100, "delta": -0.1, "verdict": "better"})
        for index, name in enumerate(base, 1)
    }
    result = normal.model_copy(
        update={
            "columns": [normal.columns[1].model_copy(update={"name": name}) for name in base],
            "rows": [Row(name="base", kind="base", cells=base), Row(name="s", kind="stage", tokens=10, cells=cells)],
        }
    )
    sentence = wording.verdict_sentence(result)
    assert sentence.index("n5 (−5.00%") < sentence.index("n4 (−4.00%") < sentence.index("n3 (−3.00%")
    assert "and 2 more (−2.00% to −1.00%)" in sentence


def test_metrics_say_why_they_are_missing(normal: Result, minimal: Result) -> None:
    lines = {line.name: line for line in metric_lines(normal.metrics)}
    assert lines["Forgetting"].value == "+0.0500 nats/byte"
    assert lines["X-Delta"].value == "−0.0074 nats/byte (worst: web −0.0168)"
    assert lines["Plasticity gap"].value.startswith("not measured: needs the control 'alone'")
    assert all(line.value.startswith("not measured: ") for line in metric_lines(minimal.metrics))


def test_limits_name_what_this_run_lacks(normal: Result, minimal: Result) -> None:
    assert any(sentence.startswith("web stands in for text") for sentence in limits(normal))
    assert not any("No control was run" in sentence for sentence in limits(normal))
    assert any("No control was run" in sentence for sentence in limits(minimal))
    assert any("No new text was watched, so learning" in sentence for sentence in limits(minimal))


def test_limits_warn_of_few_documents_and_own_samples(normal: Result) -> None:
    few: Cell = normal.rows[0].cells["books"].model_copy(update={"documents": 29})
    base = normal.rows[0].model_copy(update={"cells": {**normal.rows[0].cells, "books": few}})
    plan = {"stages": [{"name": "papers-stage", "replay": {"from": "self"}}, {"name": "code-stage", "replay": None}]}
    sentences = limits(normal.model_copy(update={"rows": [base, *normal.rows[1:]], "plan": plan}))
    assert any("Fewer than 30 held-out documents in books" in sentence for sentence in sentences)
    assert any("sampled from the model itself" in sentence for sentence in sentences)


def test_what_is_small_is_not_said_to_be_nothing() -> None:
    assert [wording.passes(count) for count in (0, 0.004, 0.006, 1.234)] == ["0.00", "<0.01", "0.01", "1.23"]


def test_lines_do_not_end_inside_an_interval() -> None:
    nbsp = "\u00a0"
    assert (
        wording.unbroken("law +1.2 [+0.9, +1.5] or 3.0 ± 0.2") == f"law +1.2 [+0.9,{nbsp}+1.5] or 3.0{nbsp}±{nbsp}0.2"
    )
