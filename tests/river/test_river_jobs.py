"""Runs side by side: each is whole, all share what was prepared, and a failure or a stop leaves none running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.report.result import read
from rewarm.river.directory import RunDirectory
from rewarm.river.jobs import side_by_side
from rewarm.river.run import run
from rewarm.types import Stopped

MakeValues = Callable[..., dict[str, Any]]
LAW = {"name": "law", "data": "law"}


def test_runs_side_by_side_are_the_runs_one_after_the_other(values_in: MakeValues, tmp_path: Path) -> None:
    shared = {"prepared_dir": str(tmp_path / "prepared")}
    plans = [from_values(values_in(tmp_path / f"run-{seed}", [LAW], seed=seed, **shared)) for seed in range(3)]
    told: list[tuple[float, float | None]] = []
    side_by_side(plans, 2, lambda label, done, total, unit: told.append((done, total)), lambda: False)
    assert told[-1] == (3, 3)
    for seed, plan in enumerate(plans):
        assert read(plan.directory).complete
        alone = from_values(values_in(tmp_path / f"alone-{seed}", [LAW], seed=seed, **shared))
        run(alone)
        entries = [RunDirectory.of(found).finished()["stage-1-law"] for found in (plan, alone)]
        assert entries[0]["weights_sha256"] == entries[1]["weights_sha256"]


def test_a_run_that_fails_says_why(values_in: MakeValues, tmp_path: Path) -> None:
    plan = from_values(values_in(tmp_path / "run", [LAW | {"tokens": 10}]))
    with pytest.raises(
        RuntimeError, match=r"ended with exit code 3: rewarm: stage 'law': 10 tokens are less than half"
    ):
        side_by_side([plan], 2, lambda *told: None, lambda: False)


def test_a_stop_reaches_the_runs(values_in: MakeValues, tmp_path: Path) -> None:
    plan = from_values(values_in(tmp_path / "run", [LAW | {"tokens": 400_000, "max_epochs": 1000}]))

    def stop() -> bool:
        return (plan.directory / "training").is_dir()

    with pytest.raises(Stopped, match="the runs are saved"):
        side_by_side([plan], 1, lambda *told: None, stop)
    assert RunDirectory.of(plan).ledger()[-1]["event"] == "stopped"
