"""The recipe of CodeTask-CL: plans of `rewarm learn` with its settings, and the small one's tasks."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewarm.recipes.inputs import Asked
from rewarm.recipes.published import compare_command, full_lines, full_plan, recipe, small_lines, small_plans
from rewarm.recipes.small_functions import LONGEST, TASKS, write_codetask
from rewarm.tasks.plan import LearnPlan, from_values
from rewarm.tasks.prompt_pool import PromptPool

SETTINGS = (
    "orders", "seeds", "max_length", "new_tokens", "learning_rate", "epochs", "patience", "batch_size", "warmup",
    "decay", "weight_decay", "max_grad_norm", "measure",
)  # fmt: skip
METHODS = tuple(recipe("codetask").methods)


@pytest.fixture
def asked(tmp_path: Path, make_base: Callable[..., Path]) -> Asked:
    """Four files of a row, in the published order."""
    for name in TASKS:
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "a", "answer": "b"}\n', encoding="utf-8")
    return Asked(str(make_base("llama")), tuple(str(tmp_path / f"{name}.jsonl") for name in TASKS))


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_says_where_it_comes_from(method: str, asked: Asked) -> None:
    lines = full_plan("codetask", method, asked).splitlines()
    for key in SETTINGS:
        (line,) = [line for line in lines if line.strip().startswith(f"{key}:")]
        assert any(source in line for source in ("[code]", "[paper]", "[ours]")), line


def test_the_plan_has_the_published_settings(asked: Asked) -> None:
    plan: LearnPlan = from_values(yaml.safe_load(full_plan("codetask", None, asked)))
    assert plan.all_orders == (TASKS,)
    assert (plan.tuning.batch_size, plan.tuning.warmup, plan.tuning.decay) == (16, 500, "linear")
    ways: dict[str, Any] = {one.name: one.way for one in plan.ways}
    forced, plain = ways["pp-tf"], ways["pp"]
    assert isinstance(forced, PromptPool)
    assert (forced.keys, forced.length, forced.shared, forced.pull) == (20, 5, 2, 0.1)
    assert forced.teacher_forcing
    assert (plain.pool, plain.keys * plain.length, ways["shared-prompts"].tokens) == (100, 100, 100)
    assert [name for name, way in ways.items() if way.peeks_ahead] == ["pp", "pp-er", "pp-tf"]
    assert [name for name, way in ways.items() if way.knows_task] == ["task-prompts"]
    assert [name for name, way in ways.items() if way.reads_old_labels] == ["shared-er", "pp-er"]


def test_it_is_learned_by_one_command(asked: Asked) -> None:
    assert full_lines("codetask", "whole", asked, "a plan.yaml") == ["rewarm learn 'a plan.yaml'"]
    assert compare_command("codetask", asked, "plan.yaml") is None
    assert small_lines("codetask", None, "there") == ["rewarm learn there/plan.yaml"]


@pytest.mark.parametrize("method", tuple(recipe("codetask", small=True).methods))
def test_small_plans_load(method: str) -> None:
    plans = small_plans("codetask", method, "there")
    assert list(plans) == ["plan.yaml"]
    assert from_values(yaml.safe_load(plans["plan.yaml"])).all_orders == (TASKS,)


def test_the_small_tasks_are_of_functions(tmp_path: Path) -> None:
    write_codetask(tmp_path)
    found = {
        name: [json.loads(line) for line in (tmp_path / "tasks" / f"{name}.jsonl").read_text().splitlines()]
        for name in TASKS
    }
    assert min(map(len, found.values())) >= 200
    for row in found["refinement"]:
        assert ast.dump(ast.parse(row["prompt"])) != ast.dump(ast.parse(row["answer"]))
    for name, rows in found.items():
        assert len({row["prompt"] for row in rows}) == len(rows)
        assert all(row["answer"].strip() and len(row["prompt"]) <= LONGEST + 20 for row in rows), name
