"""Suites of a plan, from the command line: forecast, run, evaluate, gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Calls = Callable[..., Any]


@pytest.fixture(scope="session")
def with_suites(cli: Calls, write_plan: Calls, words: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a plan with two suites, which has been run into `run` beside it. Read only."""
    folder = tmp_path_factory.mktemp("suites")
    texts = [words(7000 + number, 9).split() for number in range(30)]
    choices = [
        {"query": " ".join(text[:4]), "choices": [text[4], " ".join(text[6:8])], "gold": place % 2}
        for place, text in enumerate(texts)
    ]
    prompts = [{"prompt": " ".join(text[:4])} for text in texts[:10]]
    suites = {}
    for name, rows, kind in (("quiz", choices, "choices"), ("chat", prompts, "instructions")):
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        suites[name] = {"type": kind, "path": str(file)}
    suites["chat"]["new_tokens"] = 4  # type: ignore[assignment]
    called = cli("run", write_plan(folder, suites=suites), "--quiet")
    assert called.code == 0, called.err
    assert "Instructions (IFD)" in called.out
    return folder


def test_asking_is_in_the_forecast(cli: Calls, with_suites: Path) -> None:
    assert cli("check", with_suites / "plan.yaml", "--json").json()["seconds"]["suites"] > 0
    plan = (with_suites / "plan.yaml").read_text(encoding="utf-8")
    (with_suites / "other.yaml").write_text(plan.replace("quiz.jsonl", "nowhere.jsonl"), encoding="utf-8")
    called = cli("check", with_suites / "other.yaml")
    assert (called.code, "suites.quiz" in called.err) == (3, True)
    (with_suites / "third.yaml").write_text(plan.replace("type: choices", "type: continuation"), encoding="utf-8")
    called = cli("check", with_suites / "third.yaml")
    assert (called.code, "no text in field 'context': 30" in called.err) == (3, True)


def test_the_runs_own_model_gets_the_figures_of_the_run(cli: Calls, with_suites: Path) -> None:
    run = with_suites / "run"
    told = cli("report", run, "--json").json()["result"]["suites"]["sets"]
    found = cli("evaluate", run / "stage-1-update", "--on", run, "--json").json()["suites"]["sets"]
    one, own = (next(held for held in sets if held["name"] == "quiz") for sets in (told, found))
    assert [row["name"] for row in own["rows"]] == ["base", str(run / "stage-1-update")]
    assert own["rows"][1]["measures"]["accuracy"] == one["rows"][1]["measures"]["accuracy"]
    said = cli("evaluate", run / "stage-1-update", "--on", run, "--quiet").out
    assert "quiz" in said
    assert "accuracy*" in said


def test_the_gate_judges_suites(cli: Calls, with_suites: Path) -> None:
    met = cli("gate", with_suites / "run", "--require", "suite:quiz.accuracy >= -100%")
    assert (met.code, met.out.splitlines()[-1]) == (0, "gate met")
    both = ["--require", "suite:quiz >= -100%", "--require", "value:chat.stop_rate >= 101%"]
    missed = cli("gate", with_suites / "run", *both)
    assert missed.code == 2
    assert [line.partition(":")[0] for line in missed.out.splitlines()[:2]] == ["pass", "fail"]
    refused = cli("gate", with_suites / "run", "--require", "quiz >= 0")
    assert (refused.code, "is no condition" in refused.err) == (3, True)
