"""`rewarm verify`, `rewarm selftest` and `rewarm undo` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def begun(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "x"))


def test_verify_says_right_and_wrong(cli: Any, begun: Path) -> None:
    called = cli("verify", begun, "--quiet")
    assert (called.code, called.err) == (0, "")
    assert "0 wrong" in called.out
    report = json.loads((begun / "report.json").read_text())
    report["rows"][1]["cells"]["new"]["loss"] = 1.5
    (begun / "report.json").write_text(json.dumps(report))
    called = cli("verify", begun, "--documents", "0", "--json")
    found = called.json()
    assert (called.code, found["right"], found["exit_code"]) == (2, False, 2)
    assert [check["subject"] for check in found["checks"] if check["right"] is False] == [
        "report.json, rows.1.cells.new.loss"
    ]
    called = cli("verify", begun, "--documents", "0")
    assert called.out.splitlines()[2].split()[0] == "WRONG"
    assert "1 checks are not right: report.json, rows.1.cells.new.loss (number): 1.5" in called.err
    assert cli("verify", begun.parent).code == 3


@pytest.mark.parametrize("what", ["resume", "data", "loss"])
def test_selftest_checks_a_plan(cli: Any, write_plan: Any, tmp_path: Path, what: str) -> None:
    plan = write_plan(tmp_path)
    called = cli("selftest", what, plan, "--steps", "4", "--json")
    found = called.json()
    assert (called.code, found["right"]) == (0, True)
    assert len(found["checks"]) >= 3
    assert all(check["right"] for check in found["checks"])
    assert sorted(tmp_path.iterdir()) == [plan]


def test_selftest_of_something_else_is_wrong_input(cli: Any, write_plan: Any, tmp_path: Path) -> None:
    called = cli("selftest", "speed", write_plan(tmp_path))
    assert called.code == 3
    assert "resume" in called.err


def test_undo_takes_back_what_add_stage_added_after_an_earlier_stage(
    cli: Any, begun: Path, tmp_path: Path, words: Any, write_jsonl: Any
) -> None:
    before = json.loads((begun / "report.json").read_text())["rows"]
    file = write_jsonl(tmp_path / "two.jsonl", [words(8000 + number, 40) for number in range(60)])
    given = ("add-stage", begun, "--corpus", file, "--tokens", "256")
    wrong = cli(*given, "--after", "updat")
    assert (wrong.code, "updat" in wrong.err) == (3, True)
    added = cli(*given, "--after", "update", "--json")
    assert added.code == 0, added.out
    ledger = [json.loads(line) for line in (begun / "ledger.jsonl").read_text().splitlines()]
    starts = {entry["leg"]: entry["start"] for entry in ledger if entry["event"] == "leg finished"}
    assert starts["stage-2-two"] == "stage-1-update"
    assert " --after update " in next(entry for entry in ledger if entry["event"] == "stage added")["command"]
    tree = sorted(begun.rglob("*"))
    dry = cli("undo", begun, "--dry-run", "--json").json()
    assert (dry["stage"], sorted(begun.rglob("*"))) == ("two", tree)
    assert "stage-2-two" in dry["files"]
    assert cli("undo", begun, "--json").json()["undone"] == "two"
    assert json.loads((begun / "report.json").read_text())["rows"] == before
    assert cli("verify", begun, "--documents", "1", "--quiet").code == 0
    called = cli("undo", begun)
    assert (called.code, "it was begun with its last one, 'update'" in called.err) == (3, True)
