"""Plans in which some values are anything that YAML can hold are plans, or a UserError."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fuzz_inputs import plans
from fuzz_targets import LEARN, PLAN, plan_values
from hypothesis import HealthCheck, Phase, given, settings

from rewarm import plan
from rewarm.tasks import plan as task_plan
from rewarm.types import UserError


@settings(max_examples=60, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(values=plans())
def test_no_values_raise_anything_else(values: Any) -> None:
    plan_values(values)


def test_the_seeds_are_plans() -> None:
    assert plan.from_values(yaml.safe_load(PLAN)).stages[0].name == "june"
    assert list(task_plan.from_values(yaml.safe_load(LEARN)).tasks) == ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        {"bad_rows": "9" * 400 + "/1"},
        {"bad_rows": "1/0"},
        {"corpora": {"a": {1: 2}}},
        {"corpora": {None: 1}},
        {"stages": [{1: 2}]},
        {"watch": {1: 2}},
        {"seed": 10**400},
    ],
)
def test_what_was_found_before(change: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        plan.from_values(yaml.safe_load(PLAN) | change)
