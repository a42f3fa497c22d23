"""The recipe of incremental languages: plans that load, a source for each setting, and rows that are tagged right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from rewarm.evaluation.word_labels import entities, is_iob2
from rewarm.recipes import small_tasks
from rewarm.recipes.inputs import Asked
from rewarm.recipes.published import full_lines, full_plan, recipe, small_lines, small_plans
from rewarm.tasks.plan import load
from rewarm.tasks.work import plan_work

SOURCES = ("[abs]", "[second-hand]", "[mem]", "[ours]")


@pytest.mark.parametrize("method", list(recipe("languages").methods))
def test_full_plans_load_with_a_source_for_each_setting(method: str, tmp_path: Path) -> None:
    files = []
    for name in ("da", "sv"):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("{}\n", encoding="utf-8")
        files.append(str(file))
    asked = Asked(base="bert", corpus=tuple(files))
    text = full_plan("languages", method, asked)
    values = yaml.safe_load(text)
    assert list(values["tasks"]) == ["da", "sv"]
    kinds = {"sentences": "classes", "pairs": "classes", "words": "labelling"}
    assert {task["kind"] for task in values["tasks"].values()} == {kinds[method]}
    assert ("text_b" in values["tasks"]["da"]) == (method == "pairs")
    settings = [
        line for line in text.splitlines() if line.strip().startswith(("seeds", "max_length", *values["tuning"]))
    ]
    assert len(settings) == 2 + len(values["tuning"])
    assert all(any(source in line for source in SOURCES) for line in settings)
    assert full_lines("languages", method, asked, "p.yaml") == ["rewarm learn p.yaml"]


def test_the_small_recipe_writes_languages_that_share_names_alone(tmp_path: Path) -> None:
    folder = str(tmp_path)
    small_tasks.write("languages", tmp_path)
    (tmp_path / "plan.yaml").write_text(small_plans("languages", None, folder)["plan.yaml"], encoding="utf-8")
    assert small_lines("languages", None, folder) == [f"rewarm learn {tmp_path / 'plan.yaml'}"]
    work = plan_work(load(tmp_path / "plan.yaml"))
    assert (work.measure, is_iob2(work.classes)) == ("entity_f1", True)
    assert not any(one.tally.total for one in work.found.values())
    words: dict[str, set[str]] = {}
    for name in ("east", "far"):
        rows = [json.loads(line) for line in (tmp_path / "tasks" / f"{name}.jsonl").read_text().splitlines()]
        plain = [word for row in rows for word, tag in zip(row["tokens"], row["labels"], strict=True) if tag == "O"]
        words[name] = {word for word in plain if len(word) > 3}
        told = [{kind for _, _, kind in entities(row["labels"])} for row in rows]
        assert told.count({"SUBJECT", "VALUE"}) > 0.9 * len(rows)
    assert len(words["east"] & words["far"]) < 0.05 * len(words["east"])
