"""Orders of stages: how they are given, what moves with a stage and what stays with its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rewarm.plan import Plan, from_values
from rewarm.river.orders import order_of, orders, reordered
from rewarm.river.variants import arms, parse_vary
from rewarm.types import UserError


@pytest.fixture
def plan(scratch_plan: Callable[..., dict[str, Any]]) -> Plan:
    """Three stages, of which the second's name holds a dash; all but the first replay earlier text."""
    replay = {"from": "earlier", "share": "5%"}
    stages = [
        {"name": "da", "data": "new", "tokens": 1024, "learning_rate": 1e-3},
        {"name": "is-old", "data": "old", "tokens": 512, "learning_rate": 2e-3, "replay": replay},
        {"name": "no", "data": "new", "tokens": 768, "learning_rate": 3e-3, "replay": replay},
    ]
    return from_values(scratch_plan(stages=stages, watch=["old", "new"]))


def test_orders_are_lists_joined_names_or_a_number(plan: Plan) -> None:
    assert orders(plan, ["no-is-old-da", ["da", "no", "is-old"]]) == [("no", "is-old", "da"), ("da", "no", "is-old")]
    assert orders(plan, ["no-da"]) == [("no", "is-old", "da")], "a stage that is left out keeps its place"
    assert orders(plan, [2]) == [("da", "is-old", "no"), ("no", "is-old", "da")]
    every = orders(plan, [6])
    assert len(set(every)) == 6
    assert every == orders(plan, [6])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("da-nooo", "no stage is called 'nooo'. Did you mean 'no'"),
        ("da-da", "names 'da' twice"),
        ("da", "names one stage"),
        (7, "3 stages have 6 orders"),
    ],
)
def test_what_is_no_order_is_refused(plan: Plan, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        orders(plan, [value])


def test_text_and_budget_move_and_how_a_place_trains_stays(plan: Plan) -> None:
    other = reordered(plan, ("no", "is-old", "da"))
    assert order_of(other) == ("no", "is-old", "da")
    assert [stage.tokens for stage in other.stages] == [768, 512, 1024]
    assert [stage.learning_rate for stage in other.stages] == [1e-3, 2e-3, 3e-3]
    assert [stage.replay is None for stage in other.stages] == [True, False, False]
    assert reordered(plan, order_of(plan)) is plan


def test_a_stage_that_says_what_it_starts_from_stays(plan: Plan) -> None:
    values = plan.resolved()
    values["stages"][2]["from"] = "da"
    with pytest.raises(UserError, match="stage 'no' says what it starts from"):
        reordered(from_values(values), ("no", "is-old", "da"))


def test_compare_makes_an_arm_of_each_order_but_the_plans_own(plan: Plan) -> None:
    found = arms(plan, parse_vary(["order=da-is-old-no,no-is-old-da,[is-old, no, da]"]), factors=[1.0])
    assert [arm.name for arm in found] == ["plan", "order no-is-old-da", "order is-old-no-da"]
    assert found[1].change() == {"order": ["no", "is-old", "da"]}
    assert found[1].folder == "order-no-is-old-da"
