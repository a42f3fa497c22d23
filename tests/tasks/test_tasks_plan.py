"""Plans of `rewarm learn`: what they say, what is wrong with them, and what becomes of rows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.suites.splits import UNKNOWN
from rewarm.tasks.plan import LearnPlan, from_values, load
from rewarm.tasks.reading import UNEQUAL, read_tasks
from rewarm.tasks.work import plan_work
from rewarm.types import UserError

PLAN: dict[str, Any] = {
    "base": "b",
    "output_dir": "o",
    "tasks": {
        "one": {"kind": "classes", "path": "a.jsonl"},
        "two": {"kind": "classes", "path": "b.jsonl"},
        "three": {"kind": "classes", "path": "c.jsonl"},
    },
    "ways": ["naive", {"type": "distil", "temperature": 2, "name": "warm"}, "distil"],
}


def test_a_plan_is_read_without_torch() -> None:
    program = (
        "import sys; from rewarm.tasks.plan import from_values;"
        f"from_values({PLAN!r}); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_orders_it_is_the_given_one_and_its_reverse_with_three_seeds() -> None:
    plan = from_values(PLAN)
    assert plan.all_orders == (("one", "two", "three"), ("three", "two", "one"))
    assert plan.seeds == (0, 1, 2)
    assert [(one.name, one.way.described().get("temperature")) for one in plan.ways] == [
        ("naive", None), ("warm", 2.0), ("distil", 1.0),
    ]  # fmt: skip
    listed = [{"name": name, **task} for name, task in PLAN["tasks"].items()]
    assert from_values(PLAN | {"tasks": listed, "seeds": 3}) == plan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wasy": ["naive"]}, "wasy: unknown key. Did you mean 'ways'?"),
        ({"ways": ["naiv"]}, "no tasks method is called 'naiv'. Did you mean 'naive'?"),
        ({"ways": [{"type": "distil", "temprature": 2}]}, "ways.0.temprature: unknown key. Did you mean"),
        ({"ways": ["naive", "naive"]}, "'naive' stands twice: give each a 'name'"),
        ({"orders": [["one", "two"]]}, "[one, two] must name each of one, two, three once"),
        ({"seeds": 0}, "seeds: give a count from 1 to 100"),
        ({"seeds": [1, 1]}, "seeds: the same one is given twice"),
        ({"measure": "bleu"}, "measure: 'bleu' is none of macro_f1, accuracy"),
        ({"classes": ["yes"]}, "classes: give two or more"),
        ({"ways": [{"type": "prompt-pool", "keys": 2, "shared": 1}]}, "'prompt-pool' learns answers, and these tasks"),
        ({"ways": [{"type": "prompt-pool", "keys": 2, "shared": 1}]}, "3 tasks that share 1 keys in pairs leave 0"),
        ({"tasks": {"one": {"kind": "classes", "path": "a"}}}, "tasks: give at least one"),
        ({"tasks": {"one": {"kind": "class", "path": "a"}, "two": {}}}, "tasks.one.kind: there is no kind 'class'."),
        ({"tasks": {"one": {"kind": "classes", "lable": "x", "path": "a"}}}, "tasks.one.lable: unknown key."),
        ({"tasks": {"one": {"kind": "classes", "path": "a", "where": {"lang": False}}}}, "put it in quotes"),
        (
            {"tasks": {"one": {"kind": "classes", "path": "a"}, "two": {"kind": "answers", "path": "b"}}},
            "kinds answers and classes share no head",
        ),
    ],
)  # fmt: skip
def test_a_wrong_plan_names_the_key_and_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        from_values(PLAN | changes)
    assert message in str(raised.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UserError) as raised:
        from_values(PLAN | {"seedz": 1, "ways": ["naiv", "distill"], "max_length": 1})
    told = str(raised.value)
    assert all(word in told for word in ("seedz", "'naiv'", "'distill'", "max_length"))


def test_a_plan_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rewarm recipe languages"):
        load(tmp_path / "none.yaml")


def test_lr_adjust_lowers_the_rate_from_task_to_task_and_not_below_its_floor() -> None:
    tuning = from_values(PLAN | {"tuning": {"learning_rate": 8e-5, "rate_factor": 0.5, "rate_min": 3e-5}}).tuning
    assert [tuning.at(place, 0, "fp32").learning_rate for place in range(3)] == pytest.approx([8e-5, 4e-5, 3e-5])


def test_rows_are_chosen_split_capped_and_counted(
    make_plan: Callable[..., LearnPlan], tmp_path: Path, class_rows: Any, write_rows: Any
) -> None:
    rows = class_rows("east", 24)
    rows[0]["label"] = ""
    rows[4]["label"] = "maybe"  # a test row of a class that no training row has
    file = write_rows(tmp_path / "few.jsonl", [*rows, *class_rows("west", 12)])
    plan = make_plan()
    tasks = {name: task.model_copy(update={"path": str(file), "train_limit": 5}) for name, task in plan.tasks.items()}
    found, labels = read_tasks(tasks, (), 0.5)
    assert labels == ["no", "yes"]
    assert found["east"].counts() == {"train": 5, "dev": 4, "test": 7, "text": 5}
    assert found["east"].tally.counts == {"no label in field 'label'": 1}
    left = found["east"].tally.left_out
    assert (left["over the limit"], left[UNKNOWN], left["another value of lang"]) == (6, 1, 12)
    with pytest.raises(UserError, match=r"tasks.east.*1 of 36 rows"):
        read_tasks(tasks, (), 0.01)


def test_words_without_as_many_labels_are_bad_rows(
    tmp_path: Path, make_plan: Callable[..., LearnPlan], write_rows: Any
) -> None:
    rows = [{"tokens": ["ba", "ke"], "labels": ["X", "Y"], "split": part} for part in ("train", "dev", "test")]
    file = write_rows(tmp_path / "words.jsonl", [*rows, {"tokens": ["ba"], "labels": ["X", "Y"], "split": "train"}])
    task = {"kind": "labelling", "path": str(file), "split": "split"}
    plan = make_plan(tasks={"one": task, "two": task}, orders=[["one", "two"]], bad_rows=0.5)
    work = plan_work(plan)
    assert work.found["one"].tally.counts == {UNEQUAL: 1}
    assert (list(work.classes), work.measure) == (["X", "Y"], "macro_f1")
    with pytest.raises(UserError, match="entity_f1 needs IOB2 tags"):
        plan_work(plan.model_copy(update={"measure": "entity_f1"}))


def test_a_split_without_a_row_and_rows_longer_than_the_base_reads_are_refused(
    make_plan: Callable[..., LearnPlan],
) -> None:
    with pytest.raises(UserError, match="max_length 500 is more than the base's 128 positions"):
        plan_work(make_plan(max_length=500))
    tasks = {
        name: {**task.model_dump(mode="json"), "where": {"lang": "north"}} for name, task in make_plan().tasks.items()
    }
    with pytest.raises(UserError, match=r"tasks.*the training rows have 0 labels"):
        plan_work(make_plan(tasks=tasks))


def test_real_tags_of_two_languages_are_read_whole(make_plan: Callable[..., LearnPlan]) -> None:
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data")
    file = folder / "languages" / "ner_da_en_sv_de.jsonl.zst"
    if not file.is_file():
        pytest.skip("set REWARM_DATA to the folder of real data")
    task = {"kind": "labelling", "path": str(file), "labels": "ner", "split": "split", "train_limit": 50}
    tasks = {lang: {**task, "where": {"lang": lang}} for lang in ("da", "sv")}
    work = plan_work(make_plan(tasks=tasks, orders=[["da", "sv"]]))
    assert work.measure == "entity_f1"
    assert [one.tally.total for one in work.found.values()] == [0, 0]
    assert [one.counts()["train"] for one in work.found.values()] == [50, 50]
