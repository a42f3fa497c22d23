"""A run directory belongs to one plan and one process, and its ledger survives a crash in the middle of a line."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import Plan, from_values, load
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.types import StorageError, UserError

MakeValues = Callable[..., dict[str, Any]]
ONE: list[dict[str, Any]] = [{"name": "law", "data": "law", "tokens": 512}]


@pytest.fixture
def plan(make_values: MakeValues) -> Plan:
    """One short stage."""
    return from_values(make_values(ONE))


def test_the_resolved_plan_is_the_plan(plan: Plan, tmp_path: Path) -> None:
    RunDirectory(tmp_path / "run").claim(plan)
    assert load(tmp_path / "run" / "plan.resolved.json") == plan
    assert RunDirectory(tmp_path / "run").resolved() == plan


def test_another_plan_is_refused_once_the_run_has_begun(make_values: MakeValues, tmp_path: Path, plan: Plan) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.claim(plan)
    directory.record("inputs")
    values = make_values(ONE)
    values["stages"][0]["learning_rate"] = 1e-4
    with pytest.raises(UserError, match=r"stages.0.learning_rate: 0.002 -> 0.0001"):
        directory.claim(from_values(values))
    values = make_values(ONE, seed=7, weight_decay=0.2)
    with pytest.raises(UserError, match=r"seed: 0 -> 7; weight_decay: 0.1 -> 0.2"):
        directory.claim(from_values(values))
    assert directory.resolved() == plan


def test_a_plan_that_was_refused_may_be_corrected(make_values: MakeValues, tmp_path: Path) -> None:
    values = make_values(ONE)
    values["corpora"]["code"]["holdout"] = 0.0
    with pytest.raises(UserError, match="no document is held out"):
        run(from_values({**values, "stages": [{**values["stages"][0], "data": "code"}]}))
    assert run(from_values(make_values(ONE))).complete


def test_a_tokenizer_of_a_corrected_plan_is_made_again(make_values: MakeValues, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.claim(from_values(make_values(ONE, base="somewhere/else")))
    directory.tokenizer.mkdir()
    directory.claim(from_values(make_values(ONE, base="somewhere/else")))
    assert directory.tokenizer.is_dir()
    directory.claim(from_values(make_values(ONE)))
    assert not directory.tokenizer.exists()


def test_what_changes_no_weight_may_change(make_values: MakeValues, tmp_path: Path, plan: Plan) -> None:
    run(plan)
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    changed = from_values(make_values(ONE, output_dir=str(moved), save_total_limit=5, controls=["base"]))
    before = RunDirectory(moved).ledger()
    assert run(changed).complete
    assert RunDirectory(moved).ledger() == before


def test_a_second_process_is_refused(tmp_path: Path, plan: Plan) -> None:
    with RunDirectory(tmp_path / "run").locked(), pytest.raises(UserError, match="another rewarm process runs in"):
        run(plan)
    with RunDirectory(tmp_path / "run").locked():
        pass


def test_a_look_at_the_lock_does_not_refuse_a_run(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with directory.locked():
        pass
    with (tmp_path / "run" / ".lock").open() as looked:
        fcntl.flock(looked, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with directory.locked():
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_storage_error(tmp_path: Path, code: int) -> None:
    with pytest.raises(StorageError, match="make room and run the same command again"), RunDirectory(tmp_path).locked():
        raise OSError(code, "full")


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), RunDirectory(tmp_path).locked():
        raise PermissionError(errno.EACCES, "no")


def test_a_line_cut_short_is_no_event_and_spoils_no_later_one(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.record("first", number=1)
    with directory.ledger_file.open("ab") as file:
        file.write(b'{"at": "2026-01-01", "event": "cut sho')
    assert [entry["event"] for entry in directory.ledger()] == ["first"]
    directory.record("second")
    assert [entry["event"] for entry in directory.ledger()] == ["first", "second"]
    assert directory.recorded("first") == directory.ledger()[0]
    assert directory.recorded("third") is None


def test_a_directory_without_a_plan_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run directory"):
        RunDirectory(tmp_path).resolved()
