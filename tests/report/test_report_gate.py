"""The gate on a final model with web +2.1 [1.8, 2.4], books -0.2 [-0.6, 0.2], papers -8 [-8.6, -7.4], code -20."""

import math
from typing import Any

import pytest

from rewarm.report.gate import FactLimits, check
from rewarm.report.result import Result
from rewarm.report.wording import columns
from rewarm.types import UserError


@pytest.mark.parametrize(
    ("criteria", "passed"),
    [
        ({"max_forget": 0.025}, True),
        ({"max_forget": 0.022}, True),
        ({"max_forget": 0.02}, False),
        ({"max_forget": 0.025, "strict": True}, True),
        ({"max_forget": 0.022, "strict": True}, False),
        ({"min_gain": 0.07}, True),
        ({"min_gain": 0.078}, True),
        ({"min_gain": 0.10}, False),
        ({"min_gain": 0.07, "strict": True}, True),
        ({"min_gain": 0.078, "strict": True}, False),
        ({"max_forget": 0.025, "min_gain": 0.07}, True),
        ({"max_forget": 0.025, "min_gain": 0.10}, False),
        ({"max_forget": 0.02, "min_gain": 0.07}, False),
    ],
)
def test_criteria(normal: Result, criteria: dict[str, Any], passed: bool) -> None:
    assert check(normal, **criteria).passed is passed


def test_one_sentence_per_criterion_and_corpus(normal: Result) -> None:
    assert check(normal, max_forget=0.02, min_gain=0.05).sentences == (
        "fail: web (old) +2.10% [+1.80, +2.40], allowed +2.00% or lower.",
        "pass: books (old) −0.20% [−0.60, +0.20], allowed +2.00% or lower.",
        "pass: papers (new) −8.00% [−8.60, −7.40], required −5.00% or lower.",
        "pass: code (new) −20.0% [−21.0, −19.0], required −5.00% or lower.",
    )


@pytest.mark.parametrize(("strict", "word"), [(False, "pass"), (True, "fail")])
def test_says_when_the_interval_does_not_prove_it(normal: Result, strict: bool, word: str) -> None:
    first = check(normal, max_forget=0.022, strict=strict).sentences[0]
    assert first == (
        f"{word}: web (old) +2.10% [+1.80, +2.40], allowed +2.20% or lower; "
        "the point estimate passes, but the interval does not prove it."
    )


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_loss_that_is_no_number_never_passes(normal: Result, loss: float) -> None:
    final = normal.rows[2]
    cells = {
        name: cell.model_copy(update={"loss": loss, "delta": loss, "low": loss, "high": loss, "relative": loss})
        for name, cell in final.cells.items()
    }
    rows = [*normal.rows[:2], final.model_copy(update={"cells": cells}), *normal.rows[3:]]
    diverged = normal.model_copy(update={"rows": rows})
    assert not check(diverged, max_forget=0.5).passed
    assert not check(diverged, min_gain=0.0).passed


def test_the_release_is_judged_not_the_controls(normal: Result) -> None:
    release = normal.rows[1].model_copy(update={"name": "code-stage-release", "kind": "release"})
    result = normal.model_copy(update={"rows": [*normal.rows[:3], release, *normal.rows[3:]]})
    assert check(result, max_forget=0.016).sentences[0].startswith("pass: web (old) +1.50%")


def test_a_run_that_is_not_complete_is_refused(normal: Result, minimal: Result) -> None:
    with pytest.raises(UserError, match="not complete"):
        check(normal.model_copy(update={"complete": False}), max_forget=0.1)
    with pytest.raises(UserError, match="not complete"):
        check(minimal.model_copy(update={"complete": True}), max_forget=0.1)


def test_a_criterion_needs_its_corpora(normal: Result) -> None:
    with pytest.raises(UserError, match="max_forget needs a watched corpus of old text"):
        check(normal.model_copy(update={"columns": columns(normal, "new")}), max_forget=0.1)
    with pytest.raises(UserError, match="min_gain needs a watched corpus of new text"):
        check(normal.model_copy(update={"columns": columns(normal, "old")}), min_gain=0.1)


def test_a_corpus_without_a_score_is_refused(normal: Result) -> None:
    final = normal.rows[2]
    partial = final.model_copy(update={"cells": {name: final.cells[name] for name in ("books", "code")}})
    result = normal.model_copy(update={"rows": [*normal.rows[:2], partial]})
    with pytest.raises(UserError, match="not scored on web"):
        check(result, max_forget=0.1)


@pytest.mark.parametrize("criteria", [{}, {"max_forget": -0.1}, {"min_gain": math.nan}, {"min_gain": math.inf}])
def test_criteria_are_checked(normal: Result, criteria: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"2% or 0\.02"):
        check(normal, **criteria)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "strict", "passed"),
    [
        (FactLimits(max_lost=0.10), False, True),
        (FactLimits(max_lost=0.10), True, False),
        (FactLimits(max_lost=0.12), True, True),
        (FactLimits(max_lost=0.08), False, False),
        (FactLimits(min_learned=0.60), False, True),
        (FactLimits(min_learned=0.60), True, False),
        (FactLimits(min_learned=0.59), True, True),
        (FactLimits(min_learned=0.63), False, False),
        (FactLimits(max_lost=0.10, min_learned=0.63), False, False),
    ],
)
def test_facts_lost_and_learned(with_facts: Result, limits: FactLimits, strict: bool, passed: bool) -> None:
    """The final model lost 9 [6, 12] % of what the base knew, and learned 62 [59, 65] % of what it did not."""
    assert check(with_facts, strict=strict, facts=limits).passed is passed


def test_facts_are_told_with_their_counts(with_facts: Result) -> None:
    outcome = check(with_facts, max_forget=0.025, facts=FactLimits(0.1, 0.7))
    assert outcome.sentences[2:] == (
        "pass: lost of unchanged facts of changes-2021: 9.0% [6.0, 12.0] of 1,000, allowed 10.0% or less; the point "
        "estimate passes, but the interval does not prove it.",
        "fail: learned of changed facts of changes-2021: 62.0% [59.0, 65.0] of 430, required 70.0% or more.",
    )
    assert not outcome.passed


def test_limits_without_facts_or_beyond_a_share_are_refused(normal: Result, with_facts: Result) -> None:
    with pytest.raises(UserError, match="no probe of the run asks unchanged facts"):
        check(normal, facts=FactLimits(max_lost=0.1))
    with pytest.raises(UserError, match="no probe of the run asks changed or new facts"):
        check(normal, facts=FactLimits(min_learned=0.1))
    with pytest.raises(UserError, match=r"max_facts_lost 1\.5 must be from 0 to 1"):
        check(with_facts, facts=FactLimits(max_lost=1.5))
