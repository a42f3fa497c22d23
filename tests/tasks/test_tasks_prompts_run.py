"""Prompts in a whole run of `rewarm learn`: stopped and gone on with, scored with the tasks that a way is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.report.tasks import Learned
from rewarm.river.train import Hooks
from rewarm.tasks.plan import LearnPlan, from_values
from rewarm.tasks.run import learn
from rewarm.tasks.work import plan_work
from rewarm.types import Stopped, UserError

WAYS = [
    {"type": "shared-prompts", "tokens": 3}, {"type": "task-prompts", "tokens": 3},
    {"type": "prompt-pool", "keys": 3, "length": 1, "shared": 1, "teacher_forcing": True, "replay": {"rows": 4}},
]  # fmt: skip
NAMES = ("one", "two", "three")


@pytest.fixture
def answers_plan(tiny_base: Path, write_rows: Callable[..., Path], tmp_path: Path) -> Callable[..., LearnPlan]:
    """A function: **changes -> a plan of three tasks of answers for the tiny base."""
    each = {"kind": "answers", "split": "split"}
    tasks = {}
    for name in NAMES:
        rows = [
            {"prompt": f"{name} {'ab' * (1 + row % 3)}", "answer": name[0], "split": ("train", "dev", "test")[row % 3]}
            for row in range(18)
        ]
        tasks[name] = {**each, "path": str(write_rows(tmp_path / f"{name}.jsonl", rows))}

    def make(**changes: Any) -> LearnPlan:
        values: dict[str, Any] = {
            "base": str(tiny_base), "output_dir": str(tmp_path / "out"), "tasks": tasks, "orders": [NAMES], "seeds": 1,
            "ways": WAYS, "max_length": 32, "new_tokens": 3, "precision": "fp32",
            "tuning": {"learning_rate": 0.1, "max_steps": 4, "batch_size": 6, "eval_every": 4},
        }  # fmt: skip
        return from_values(values | changes)

    return make


def losses(found: Learned, way: str) -> list[list[float]]:
    """Of every task, before the first one and after each."""
    return found.of(way, NAMES)[0].matrix("loss")


@pytest.mark.parametrize(
    ("way", "before"),
    [
        ({"type": "shared-prompts", "tokens": 99}, 99),
        ({"type": "task-prompts", "tokens": 98}, 98),
        ({"type": "prompt-pool", "keys": 50, "length": 2}, 100),
    ],
)
def test_prompts_that_the_base_has_no_positions_for_are_refused_before_any_work(
    way: dict[str, Any], before: int, answers_plan: Callable[..., LearnPlan]
) -> None:
    wanted = f"after the {before} prompt vectors of way 'mine', is more than the base's 128 positions"
    with pytest.raises(UserError, match=wanted):
        plan_work(answers_plan(ways=[way | {"name": "mine"}]))


def test_prompts_go_on_after_a_stop_to_the_same_numbers(answers_plan: Callable[..., LearnPlan], tmp_path: Path) -> None:
    whole = learn(plan_work(answers_plan()))
    parts = plan_work(answers_plan(output_dir=str(tmp_path / "parts")))
    for after in (12, 20, 30):
        with pytest.raises(Stopped):
            learn(parts, _stopping(after))
    assert [arm.model_dump() for arm in learn(parts).arms] == [arm.model_dump() for arm in whole.arms]
    told, shared = losses(whole, "task-prompts"), losses(whole, "shared-prompts")
    # A task's own prompts are not there before it, and as they were after it.
    assert told[0] == shared[0]
    assert told[1][1:] == told[0][1:]
    assert told[3][0] == told[1][0] < told[0][0]
    assert shared[3][0] != shared[1][0]
    assert "tok:13a" in whole.bleu_made
    facts = {one.type: (one.knows_task, one.reads_old_labels, one.peeks_ahead) for one in whole.ways}
    assert facts == {
        "shared-prompts": (False, False, False), "task-prompts": (True, False, False),
        "prompt-pool": (False, True, False),
    }  # fmt: skip


def _stopping(after: int) -> Hooks:
    told = 0

    def stop() -> bool:
        nonlocal told
        told += 1
        return told > after

    return Hooks(stop=stop)
