"""Stopped or killed anywhere, any number of times: the final weights are those of the unbroken run, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.types import Stopped

MakeValues = Callable[..., dict[str, Any]]
STAGES: list[dict[str, Any]] = [
    {"name": "law", "data": "law", "replay": {"from": "old", "share": 0.25}},
    {"name": "code", "data": "code", "optimizer_state": "keep", "release": {"tokens": 1024},
     "replay": {"from": "self", "share": 0.25, "tokens": 1200}},
    {"name": "again", "data": ["law", {"corpus": "code", "weight": 2}], "optimizer_state": "keep-second-moment"},
]  # fmt: skip


def weights(root: Path) -> dict[str, str]:
    """The hash of each finished leg."""
    return {name: entry["weights_sha256"] for name, entry in RunDirectory(root).finished().items()}


def stopping_after(steps: int) -> Hooks:
    """Hooks that ask to stop once that many steps have been made."""
    made = 0

    def stop() -> bool:
        nonlocal made
        made += 1
        return made > steps

    return Hooks(stop=stop)


@pytest.fixture
def whole(make_values: MakeValues, tmp_path: Path) -> dict[str, str]:
    """The unbroken run's weights."""
    run(from_values(make_values(STAGES, output_dir=str(tmp_path / "whole"))))
    return weights(tmp_path / "whole")


def test_stopped_three_times(make_values: MakeValues, tmp_path: Path, whole: dict[str, str]) -> None:
    plan = from_values(make_values(STAGES, output_dir=str(tmp_path / "broken")))
    for steps in (2, 9, 4):
        with pytest.raises(Stopped, match="The same command goes on"):
            run(plan, stopping_after(steps))
    result = run(plan)
    assert result.complete
    assert weights(tmp_path / "broken") == whole
    assert len(whole) == 4


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_instants(make_values: MakeValues, tmp_path: Path, whole: dict[str, str], seed: int) -> None:
    """SIGKILL, whatever it is doing: tokenising, training, saving, sampling, scoring, writing the report."""
    source = random.Random(seed)
    root = tmp_path / "killed"
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(make_values(STAGES, output_dir=str(root))))
    code = (
        "import json, sys; from rewarm.plan import from_values; from rewarm.river.run import run; print('ready', flush=True); "
        f"run(from_values(json.load(open({str(plan)!r}))))"
    )
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(source.uniform(0.2, 2.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(from_values(json.loads(plan.read_text())))
    assert weights(root) == whole


def test_running_a_finished_plan_again_trains_nothing(make_values: MakeValues, tmp_path: Path) -> None:
    plan = from_values(make_values(STAGES[:1]))
    run(plan)
    before = RunDirectory(tmp_path / "run").ledger()
    assert run(plan).complete
    assert RunDirectory(tmp_path / "run").ledger() == before
