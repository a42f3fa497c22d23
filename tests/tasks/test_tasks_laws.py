"""What holds for every way to learn tasks, also for one that is added tomorrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.methods import known
from rewarm.tasks import Way
from rewarm.tasks.arm import Arm
from rewarm.tasks.material import Material
from rewarm.tasks.plan import LearnPlan, NamedWay
from rewarm.tasks.work import plan_work
from rewarm.types import silent

MakePlan = Callable[..., LearnPlan]


def made(name: str) -> Way:
    """A way with its defaults."""
    found: Any = known("tasks")[name]()
    return found  # type: ignore[no-any-return]


def test_every_way_says_what_it_is() -> None:
    found = known("tasks")
    assert {"naive", "replay", "distil", "joint", "alone"} <= set(found)
    for name, way in found.items():
        assert way.about, name  # type: ignore[attr-defined]


def test_a_way_is_handed_old_labels_only_if_it_says_that_it_reads_them(make_plan: MakePlan) -> None:
    material = Material(plan_work(make_plan()))
    for name in known("tasks"):
        way = made(name)
        arm = Arm(material, NamedWay(name=name, way=way), 0, silent)
        beginning = arm._beginning(("east", "west"))
        assert beginning.task.train is not None, name
        held = [task.train is not None or task.dev is not None for task in beginning.earlier]
        assert held == ([] if arm._is_alone else [way.reads_old_labels]), name
        assert beginning.to_come == [], name  # nothing is left to come


@pytest.mark.parametrize("way", ["distil", "replay"])
def test_only_ways_that_say_so_read_old_labels(way: str, make_plan: MakePlan) -> None:
    """Every label of the first task is turned around once it was learned: distillation does not see it, replay does."""

    def after(corrupted: bool) -> Any:
        plan = make_plan(ways=[way], output_dir=str(Path(make_plan().output_dir) / f"{corrupted}"))
        material = Material(plan_work(plan))
        arm = Arm(material, plan.ways[0], 0, silent)
        first = arm._stage(("east",))
        if corrupted:
            for rows in (material.tasks["east"].train, material.tasks["east"].dev):
                held: Any = rows
                _, examples = held._parts[0]
                examples.labels[:] = [1 - label for label in examples.labels]
        return first, arm._stage(("east", "west"))

    assert (after(False) == after(True)) == (way == "distil")


def test_a_way_sees_tasks_to_come_only_if_it_peeks_and_never_their_labels(make_plan: MakePlan) -> None:
    plan = make_plan()
    material = Material(plan_work(plan))

    class Peeking(type(plan.ways[0].way)):  # type: ignore[misc]
        @property
        def peeks_ahead(self) -> bool:
            return True

    for way, count in ((plan.ways[0].way, 0), (Peeking(), 1)):
        arm = Arm(material, NamedWay(name="one", way=way), 0, silent)
        coming = arm._beginning(("east",)).to_come
        assert [(task.name, task.train, task.dev) for task in coming] == [("west", None, None)] * count
