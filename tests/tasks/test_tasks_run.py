"""Streams of tasks learned whole: what is forgotten and kept, what is read, and going on after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rewarm.report.tasks import Learned
from rewarm.river.train import Hooks
from rewarm.tasks.material import Material
from rewarm.tasks.plan import LearnPlan
from rewarm.tasks.run import learn
from rewarm.tasks.work import plan_work
from rewarm.types import Stopped, UserError

MakePlan = Callable[..., LearnPlan]


def stopping(after: int) -> Hooks:
    """Hooks that stop when told something for the n-th time."""
    told = 0

    def stop() -> bool:
        nonlocal told
        told += 1
        return told > after

    return Hooks(stop=stop)


def numbers(found: Learned) -> Any:
    """Everything that a run measured."""
    return [arm.model_dump() for arm in found.arms], [line.model_dump() for line in found.lines]


def test_naive_forgets_what_distillation_keeps(make_plan: MakePlan) -> None:
    """The same words mean the opposite under the mark of the second language."""
    plan = make_plan(
        ways=["naive", "distil"], tuning={"learning_rate": 1e-2, "max_steps": 60, "batch_size": 8, "eval_every": 20}
    )
    found = learn(plan_work(plan))
    order = found.orders[0]
    naive, kept = (found.of(way, order)[0].matrix("accuracy") for way in ("naive", "distil"))
    assert naive[1] == kept[1]  # the first task has no teacher
    assert naive[1][0] == naive[2][1] == kept[2][1] == 1
    assert kept[2][0] >= naive[2][0] + 0.3
    assert kept[2][0] >= 0.9
    page = (plan_work(plan).output / "tasks.html").read_text(encoding="utf-8")
    assert "Along east &gt; west, the mean macro-F1 at the end is: naive" in page
    assert page.count("<svg") == 2


def test_a_stopped_stream_goes_on_to_the_same_numbers(make_plan: MakePlan, tmp_path: Path) -> None:
    """Stopped in the second task of a way, after it was begun: what was finished is not learned again."""
    changes: dict[str, Any] = {"ways": ["distil"], "orders": [["east", "west"], ["west", "east"]]}
    whole = learn(plan_work(make_plan(**changes, output_dir=str(tmp_path / "whole"))))
    plan = make_plan(**changes, output_dir=str(tmp_path / "parts"))
    with pytest.raises(Stopped):
        learn(plan_work(plan), stopping(16))
    arm = tmp_path / "parts" / "arms" / "distil" / "seed-0"
    assert (arm / "east" / "stage.json").is_file()
    assert not (arm / "east+west" / "stage.json").is_file()
    labels: list[str] = []
    found = learn(plan_work(plan), Hooks(tell=lambda label, *_: labels.append(label)))
    assert numbers(found) == numbers(whole)
    assert not list(tmp_path.rglob("learner.safetensors"))  # given back at the end
    again = learn(plan_work(plan), stopping(0))  # nothing is left to be done, so nothing is told
    assert again == found


def test_an_order_that_is_added_shares_what_was_learned(make_plan: MakePlan, tmp_path: Path) -> None:
    """Learners were given back, so that the common beginning is learned once more, to the same numbers."""
    tasks = {**make_plan().tasks, "third": next(iter(make_plan().tasks.values()))}
    changes: dict[str, Any] = {"tasks": tasks, "ways": ["naive", "alone"], "tuning": {"max_steps": 2}}
    orders = [["east", "west", "third"], ["east", "third", "west"]]
    first = learn(plan_work(make_plan(**changes, orders=orders[:1])))
    both = learn(plan_work(make_plan(**changes, orders=orders)))
    fresh = learn(plan_work(make_plan(**changes, orders=orders, output_dir=str(tmp_path / "fresh"))))
    assert numbers(both) == numbers(fresh)
    assert both.of("naive", orders[0]) == first.of("naive", orders[0])
    alone = [both.of("alone", order)[0].stages for order in orders]
    assert alone[0][1] == alone[1][1]
    assert alone[0][3] == alone[1][2]


def test_other_settings_and_rows_are_refused_and_more_ways_are_not(make_plan: MakePlan) -> None:
    learn(plan_work(make_plan(tuning={"max_steps": 1})))
    with pytest.raises(UserError, match=r"was begun with other settings \(tuning\)"):
        learn(plan_work(make_plan(tuning={"max_steps": 2})))
    found = learn(plan_work(make_plan(tuning={"max_steps": 1}, ways=["naive", {"type": "replay", "rows": 3}])))
    assert [line.way for line in found.lines] == ["naive", "replay"]
    assert found.lines[1].against_naive is not None
    with pytest.raises(UserError, match=r"ways\.replay"):
        learn(plan_work(make_plan(tuning={"max_steps": 1}, ways=[{"type": "replay", "rows": 4}])))
    work = plan_work(make_plan(tuning={"max_steps": 1}))
    with pytest.raises(UserError, match=r"\(classes\)"):
        learn(replace(work, classes=["no", "yes", "maybe"]))


def test_each_kind_of_task_is_learned_and_scored(make_plan: MakePlan, write_rows: Any, tmp_path: Path) -> None:
    tags = [{"tokens": ["ba", "ke", "lo"], "labels": ["B-A", "I-A", "O"], "split": part} for part in ("train", "dev")]
    file = write_rows(tmp_path / "words.jsonl", [*tags, *[{**tags[0], "split": "test"}] * 2])
    task = {"kind": "labelling", "path": str(file), "split": "split"}
    tuning = {"max_steps": 2, "batch_size": 2}
    changes: dict[str, Any] = {"ways": ["distil"], "tuning": tuning, "orders": [["one", "two"]]}
    found = learn(plan_work(make_plan(**changes, tasks={"one": task, "two": task}, output_dir=str(tmp_path / "tags"))))
    assert found.measure == "entity_f1"
    assert set(found.arms[0].stages[0].scores["one"]) == {"loss", "accuracy", "macro_f1", "entity_f1"}
    rows = [{"q": "ba ke", "answer": "lo", "split": part} for part in ("train", "dev", "test")]
    file = write_rows(tmp_path / "answers.jsonl", rows)
    task = {"kind": "answers", "path": str(file), "split": "split", "template": "{q} ="}
    plan = make_plan(**changes, tasks={"one": task, "two": task}, output_dir=str(tmp_path / "answers"), new_tokens=4)
    found = learn(plan_work(plan))
    assert set(found.arms[0].stages[0].scores["one"]) == {"loss", "exact_match", "bleu"}
    told = json.loads((tmp_path / "answers" / "tasks.json").read_text(encoding="utf-8"))
    assert Learned.model_validate(told) == found


def test_words_beyond_the_cut_are_reported(make_plan: MakePlan, write_rows: Any, tmp_path: Path) -> None:
    rows = [{"tokens": ["ba"] * 40, "labels": ["X"] * 39 + ["Y"], "split": part} for part in ("train", "dev", "test")]
    file = write_rows(tmp_path / "words.jsonl", rows)
    task = {"kind": "labelling", "path": str(file), "split": "split"}
    plan = make_plan(tasks={"one": task, "two": task}, orders=[["one", "two"]], max_length=20, tuning={"max_steps": 1})
    found = learn(plan_work(plan))
    cut = found.tasks[0].cut["test"]
    assert 20 <= cut <= 39
    page = (plan_work(plan).output / "tasks.html").read_text(encoding="utf-8")
    assert f"{cut} words beyond max_length, not scored (test)" in page


def test_pairs_of_texts_are_read_as_the_tokenizer_pairs_them(
    make_plan: MakePlan, write_rows: Any, tmp_path: Path
) -> None:
    """The tiny tokenizer has no sign between two texts: the second stands in a line of its own."""
    rows = [
        {"a": "ba ke", "b": "lo", "label": label, "split": part}
        for part in ("train", "dev", "test")
        for label in ("x", "y")
    ]
    file = write_rows(tmp_path / "pairs.jsonl", rows)
    task = {"kind": "classes", "path": str(file), "split": "split", "text": "a", "text_b": "b"}
    plan = make_plan(tasks={"one": task, "two": task}, orders=[["one", "two"]])
    material = Material(plan_work(plan))
    padded = material.tasks["one"].test.padded([0], 0)
    assert material.reader.text.decode(padded.tokens_BT[0].tolist()) == "ba ke\nlo"
