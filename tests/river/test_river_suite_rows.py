"""Answers become rows with paired intervals, and abilities their mean, by hand-made answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rewarm.plan import Plan, from_values
from rewarm.report.suite_parts import Suites
from rewarm.river.suite_rows import mean_change, suites_of_another
from rewarm.suites import Answers, Measure
from rewarm.types import UserError

# TRACE's Table 2 (arXiv 2310.06762): LLaMA-2-7B-Chat before and after sequential fine-tuning on six general tasks.
TRACE_BEFORE = (46.56, 26.08, 40.23, 23.47, 70.55, 76.22)
TRACE_AFTER = (46.43, 3.49, 30.11, 33.23, 77.89, 76.5)


def answers(values: list[float], **more: Any) -> Answers:
    ids = tuple(map(str, range(len(values))))
    return Answers(ids, {"accuracy": Measure(np.array(values, np.float64), **more)})


def shares(percent: float, items: int = 500) -> Answers:
    """So many items of which so many percent are right."""
    right = round(percent * items / 100)
    return answers([1.0] * right + [0.0] * (items - right))


@pytest.fixture
def plan_with(scratch_plan: Callable[..., dict[str, Any]]) -> Callable[..., Plan]:
    """A function: name -> ability -> a plan with a suite of each; no file is read."""

    def make(**abilities: str) -> Plan:
        suites = {
            name: {"type": "choices", "path": "nowhere.jsonl", "ability": ability}
            for name, ability in abilities.items()
        }
        return from_values(scratch_plan(suites=suites))

    return make


def row_of(found: Suites, name: str) -> Any:
    return next(one for one in found.sets if one.name == name).rows[1].measures["accuracy"]


def test_x_delta_has_trace_s_number() -> None:
    changes = [(after - before) / 100 for before, after in zip(TRACE_BEFORE, TRACE_AFTER, strict=True)]
    delta, _, _ = mean_change([(change, change - 0.01, change + 0.01) for change in changes])
    assert 100 * delta == pytest.approx(-2.577, abs=0.001)


def test_the_worst_suite_stands_beside_the_mean(plan_with: Any) -> None:
    plan = plan_with(quiz="general", sums="general")
    before = {"quiz": shares(50), "sums": shares(26)}
    (general,) = suites_of_another(plan, before, "m", {"quiz": shares(52), "sums": shares(4)}).abilities
    assert general.delta == pytest.approx((0.02 - 0.22) / 2)
    assert general.worst == ("sums", pytest.approx(-0.22))
    assert general.suites == ["quiz", "sums"]
    assert general.low < general.delta < general.high
    assert general.verdict == "worse"


def test_every_ability_has_a_mean_of_its_own(plan_with: Any) -> None:
    plan = plan_with(quiz="general", chat="instruction", safe="safety", law="domain", more="safety")
    names = ("quiz", "chat", "safe", "law", "more")
    before = {name: shares(50) for name in names}
    after = {name: shares(value) for name, value in zip(names, (40, 50, 60, 70, 50), strict=True)}
    found = suites_of_another(plan, before, "m", after)
    assert {one.ability: round(one.delta, 6) for one in found.abilities} == {
        "general": -0.1, "instruction": 0.0, "safety": 0.05, "domain": 0.2,
    }  # fmt: skip
    assert {one.ability: one.verdict for one in found.abilities} == {
        "general": "worse", "instruction": "not distinguishable from noise", "safety": "better", "domain": "better",
    }  # fmt: skip


def test_half_widths_add_in_squares() -> None:
    found = mean_change([(0.1, 0.07, 0.13), (0.3, 0.26, 0.34)])
    assert found == pytest.approx((0.2, 0.2 - 0.025, 0.2 + 0.025))


def test_lower_is_better_turns_the_verdict_and_the_ability(plan_with: Any) -> None:
    plan = plan_with(quiz="general")
    rises = {"before": [0.0, 0.2] * 50, "after": [0.3, 0.5] * 50}
    found = suites_of_another(
        plan, {"quiz": answers(rises["before"], better="lower")}, "m", {"quiz": answers(rises["after"], better="lower")}
    )
    held = row_of(found, "quiz")
    assert (held.delta, held.verdict) == (pytest.approx(0.3), "worse")
    assert found.abilities[0].delta == pytest.approx(-0.3)


def test_items_without_the_measure_are_left_out_of_both(plan_with: Any) -> None:
    before = [1.0, 0.0, np.nan, 1.0]
    after = [0.0, 0.0, 1.0, np.nan]
    found = suites_of_another(plan_with(quiz="general"), {"quiz": answers(before)}, "m", {"quiz": answers(after)})
    held = row_of(found, "quiz")
    assert (held.items, held.delta) == (3, -0.5)
    assert held.value == pytest.approx(1 / 3)


def test_no_difference_is_no_certainty(plan_with: Any) -> None:
    """With 10 items alike, a change of 1 - 0.025^(1/10) = 30.8 points still has a chance of 2.5 %."""
    same = {"quiz": answers([1.0, 0.0] * 5)}
    held = row_of(suites_of_another(plan_with(quiz="general"), same, "m", same), "quiz")
    assert (held.delta, held.low, held.high) == (0, pytest.approx(-0.308, abs=1e-3), pytest.approx(0.308, abs=1e-3))
    assert held.verdict == "not distinguishable from noise"
    lost = {"quiz": answers([0.0] * 10)}
    held = row_of(suites_of_another(plan_with(quiz="general"), {"quiz": answers([1.0] * 10)}, "m", lost), "quiz")
    assert (held.delta, held.low, held.high, held.verdict) == (-1, -1, pytest.approx(-0.692, abs=1e-3), "worse")


def test_a_model_that_diverged_is_worse(plan_with: Any) -> None:
    nats = {"better": "lower", "unit": "nats per byte"}
    before, after = answers([1.0, 2.0], **nats), answers([1.0, np.inf], **nats)
    found = suites_of_another(plan_with(quiz="general"), {"quiz": before}, "m", {"quiz": after})
    held = row_of(found, "quiz")
    assert (held.value, held.delta, held.verdict) == (np.inf, np.inf, "worse")
    assert found.apart == ["quiz"]
    assert not found.abilities


def test_other_items_are_refused(plan_with: Any) -> None:
    with pytest.raises(UserError, match="asked other items than the base"):
        suites_of_another(plan_with(quiz="general"), {"quiz": answers([1.0])}, "m", {"quiz": answers([1.0, 0.0])})


def test_a_headline_must_be_one_of_its_measures(scratch_plan: Any) -> None:
    suites = {"quiz": {"type": "choices", "path": "nowhere.jsonl", "headline": "acc"}}
    plan = from_values(scratch_plan(suites=suites))
    with pytest.raises(UserError, match=r"headline 'acc' is none of its measures \(accuracy\)"):
        suites_of_another(plan, {"quiz": answers([1.0])}, "m", {})
