"""Recipes of code: plans that can be checked, a source for each setting, and their commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from rewarm.plan import from_values
from rewarm.recipes.inputs import Asked
from rewarm.recipes.published import full_lines, full_plan, recipe, small_lines, small_plans
from rewarm.recipes.small_code import PROBLEMS, write_cert
from rewarm.river.forecast import forecast
from rewarm.suites.problems import problem_of

METHODS = tuple(recipe("cert").methods)
FILES = {"generator": "pairs", "sketcher": "sketches", "sources": "sources"}


@pytest.fixture
def asked(tmp_path: Path, make_base: Callable[..., Path], words: Any, write_jsonl: Any) -> Asked:
    """A full-scale plan of everything that CERT takes; the corpora are there, as the commands leave them."""
    write_jsonl(tmp_path / "old.jsonl", [words(number, 30) for number in range(60)])
    rows = b"".join(json.dumps({"id": str(n), "text": words(100 + n, 30)}).encode() + b"\n" for n in range(60))
    for name in FILES.values():
        file = tmp_path / "run-text" / f"{name}.jsonl.zst"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(zstandard.compress(rows))
    write_cert(tmp_path)
    return Asked(
        base=str(make_base("llama")),
        corpus=("code",),
        old=str(tmp_path / "old.jsonl"),
        suites=(("domain", str(tmp_path / "problems.jsonl")),),
        output_dir=str(tmp_path / "run"),
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_plan_can_be_checked_and_says_its_sources(method: str, asked: Asked) -> None:
    text = full_plan("cert", method, asked)
    for key in ("seq_len", "batch_tokens", "weight_decay", "adam_betas", "learning_rate", "schedule", "epochs"):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
        assert any(source in line for source in ("[paper]", "[code]", "[ours]")), line
    values = yaml.safe_load(text) | {"seq_len": 64, "batch_tokens": 128}
    for stage in values["stages"]:
        stage["max_epochs"] = 1000
    for corpus in values["corpora"].values():
        corpus["holdout"] = 0.2
    if method == "generator":
        values["suites"]["library"]["sketcher"] = asked.base  # the other plan's model, when that has run
    found = forecast(from_values(values))
    assert found.faults() == []
    assert all(leg.steps > 0 for leg in found.legs)
    drafts = [one.get("sketcher") is not None for one in values.get("suites", {}).values()]
    assert drafts == {"generator": [True], "sketcher": [], "sources": [False]}[method]


@pytest.mark.parametrize("method", METHODS)
def test_the_corpus_is_made_before_it_is_read(method: str, asked: Asked) -> None:
    found = [shlex.split(line) for line in full_lines("cert", method, asked, "plan.yaml") if not line.startswith("#")]
    assert found[0][:6] == ["rewarm", "corpus", "sketch", "code", "--library", "pandas"]
    assert found[0][-1] == f"{asked.output_dir}-text/{FILES[method]}.jsonl.zst"
    assert found[0][found[0].index("--write") + 1] == method
    assert found[-1] == ["rewarm", "run", "plan.yaml", *([] if method == "sketcher" else ["--execute"])]


@pytest.mark.parametrize("method", METHODS)
def test_the_small_one_makes_and_runs_every_plan(method: str, tmp_path: Path) -> None:
    plans = small_plans("cert", method, str(tmp_path))
    assert len({from_values(yaml.safe_load(text)).output_dir for text in plans.values()}) == len(plans)
    assert set(plans) >= {"plan.yaml", "sketcher.yaml" if method == "generator" else "plan.yaml"}
    commands = [shlex.split(line) for line in small_lines("cert", method, str(tmp_path))]
    made = {found[found.index("--out") + 1] for found in commands if found[1] == "corpus"}
    read = {
        corpus["path"]
        for text in plans.values()
        for name, corpus in yaml.safe_load(text)["corpora"].items()
        if name != "documentation"
    }
    assert read <= made
    assert str(tmp_path / "plan.yaml") in {found[2] for found in commands}


def test_what_the_small_one_reads(tmp_path: Path) -> None:
    write_cert(tmp_path)
    rows = [json.loads(row) for row in (tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        program: dict[str, Any] = {}
        problem = problem_of(row)
        exec(problem.program(problem.answers[0]), program)  # its own answer, and its tests
    assert len(rows) == len(PROBLEMS)
    assert sum("import re" in row for row in (tmp_path / "sources.jsonl").read_text(encoding="utf-8").splitlines()) > 40
