"""`rewarm learn`: a plan checked, forecast without a trace, learned and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def plan(tmp_path: Path, base: Path) -> Path:
    """Two tasks of two classes each, one step of learning."""
    rows = [
        {"text": f"ba {word}", "label": word, "lang": lang, "split": part}
        for lang in ("east", "west")
        for part in ("train", "dev", "test")
        for word in ("ke", "lo")
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    task = {"kind": "classes", "path": str(file), "split": "split"}
    values = {
        "base": str(base), "output_dir": str(tmp_path / "out"), "ways": ["naive", "joint"], "seeds": 1,
        "tasks": {lang: {**task, "where": {"lang": lang}} for lang in ("east", "west")}, "precision": "fp32",
        "max_length": 32, "tuning": {"max_steps": 1},
    }  # fmt: skip
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(values), encoding="utf-8")
    return plan


def test_a_stream_is_forecast_then_learned_and_kept(cli: Any, plan: Path, tmp_path: Path) -> None:
    dry = cli("learn", plan, "--dry-run", "--json").json()
    assert (dry["arms"], dry["rows"]["east"]) == (4, {"train": 2, "dev": 2, "test": 2, "text": 2})
    assert "2 ways x 1 seeds x 2 orders = 4 arms" in cli("learn", plan, "--dry-run").out
    assert not (tmp_path / "out").exists()
    called = cli("learn", plan, "--quiet")
    assert (called.code, called.err) == (0, "")
    found = cli("learn", plan, "--json").json()
    assert found["learned"]["verdict"] in called.out
    assert called.out.splitlines()[-1] == f"Page: {tmp_path / 'out' / 'tasks.html'}"
    assert (tmp_path / "out" / "tasks.html").is_file()


def test_a_wrong_plan_ends_with_every_fault(cli: Any, plan: Path) -> None:
    plan.write_text(plan.read_text(encoding="utf-8").replace("naive", "naiv") + "sedes: 2\n", encoding="utf-8")
    called = cli("learn", plan)
    assert called.code == 3
    assert "sedes: unknown key. Did you mean 'seeds'" in called.err
    assert "no tasks method is called 'naiv'. Did you mean 'naive'?" in called.err
