"""Programs that a model wrote are run only for a command that says --execute."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_plan_alone_runs_no_program(cli: Callable[..., Any], write_plan: Callable[..., Path], tmp_path: Path) -> None:
    rows = [{"text": f"ba {n}", "code": f"a = {n}", "test_list": [f"assert a == {n}"]} for n in range(4)]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plan = write_plan(tmp_path, suites={"programs": {"type": "code", "path": str(file), "new_tokens": 4}})
    assert cli("check", plan).code == 0
    called = cli("run", plan, "--quiet")
    assert called.code == 3
    assert "suites.programs runs programs" in called.err
    assert "--execute" in called.err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")
def test_a_run_that_may_run_programs(
    cli: Callable[..., Any], write_plan: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    rows = [{"text": f"ba {n}", "code": f"a = {n}", "test_list": [f"assert a == {n}"]} for n in range(4)]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plan = write_plan(tmp_path, suites={"programs": {"type": "code", "path": str(file), "new_tokens": 4}})
    called = cli("run", plan, "--quiet", "--execute", "--json")
    assert called.code == 0, called.err
    (found,) = called.json()["result"]["suites"]["sets"]
    assert all("pass@1" in row["measures"] for row in found["rows"])
    run = tmp_path / "run"
    refused = cli("evaluate", run / "stage-1-update", "--on", run)
    assert (refused.code, "--execute" in refused.err) == (3, True)
    assert cli("evaluate", run / "stage-1-update", "--on", run, "--execute", "--quiet").code == 0
