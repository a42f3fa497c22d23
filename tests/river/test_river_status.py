"""The status of directories written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.status import status


@pytest.fixture
def run(scratch_plan: Callable[..., dict[str, Any]]) -> RunDirectory:
    """A run that has planned a stage of 40 steps and a control of 40 more, and trained none."""
    values = scratch_plan(controls=["new-only"])
    values["stages"][0]["tokens"] = 40 * 256
    plan = from_values(values)
    directory = RunDirectory(plan.directory)
    directory.claim(plan)
    steps = {"stage-1-update": 40}
    directory.record("started", steps={"": steps, "new-only": steps})
    return directory


def journal(run: RunDirectory, rates: list[float]) -> None:
    folder = run.training("stage-1-update")
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        {"step": step, "tokens": 256 * step, "loss": 5.0 - step, "tokens_per_second": rate}
        for step, rate in enumerate(rates, start=1)
    ]
    (folder / "journal.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_before_the_first_step_everything_waits(run: RunDirectory) -> None:
    found = status(run.root)
    assert (found.state, found.seconds_left) == ("stopped", None)
    assert [(leg.run, leg.state, leg.step, leg.steps) for leg in found.legs] == [
        ("", "waiting", 0, 40),
        ("new-only", "waiting", 0, 40),
    ]


def test_where_a_stopped_leg_stands_and_what_is_left(run: RunDirectory) -> None:
    journal(run, [256.0, 512.0])
    marker = run.training("stage-1-update") / "checkpoint-1" / "complete.json"
    marker.parent.mkdir()
    marker.write_text("{}")
    (run.training("stage-1-update") / "checkpoint-2").mkdir()  # not complete: the marker is missing
    (run.training("stage-1-update") / "scores.jsonl").write_text('{"step": 1, "losses": {"old": 2.5, "new": 3.5}}\n')
    first, second = status(run.root).legs
    assert (first.state, first.step, first.saved, first.loss) == ("stopped", 2, 1, 3.0)
    assert first.scores == {"old": 2.5, "new": 3.5}
    # 512 tokens took 1 + 0.5 seconds.
    assert first.tokens_per_second == pytest.approx(512 / 1.5)
    assert first.seconds_left == pytest.approx(38 * 256 / (512 / 1.5))
    assert second.seconds_left == pytest.approx(40 * 256 / (512 / 1.5))
    assert status(run.root).seconds_left == pytest.approx(78 * 256 / (512 / 1.5))


def test_a_finished_leg_has_the_scores_of_its_model(run: RunDirectory) -> None:
    journal(run, [256.0])
    run.record("leg finished", leg="stage-1-update", steps=40)
    run.evaluations.joinpath("stage-1-update").mkdir(parents=True)
    file = run.evaluations / "stage-1-update" / "old.npz"
    np.savez(file, nats=np.array([10.0, 20.0]), bytes=np.array([5, 7]), tokens=np.array([2, 3]))
    leg = status(run.root).legs[0]
    assert (leg.state, leg.step, leg.saved, leg.seconds_left) == ("done", 40, None, None)
    assert leg.scores == {"old": 30 / 12}


def test_a_held_lock_is_a_running_run_and_a_look_does_not_disturb_it(run: RunDirectory) -> None:
    journal(run, [256.0])
    with run.locked():
        found = status(run.root)
        assert (found.state, found.legs[0].state) == ("running", "running")
    assert status(run.root).state == "stopped"
    # Another process looks for 0.2 seconds; a run that starts meanwhile waits for it.
    code = (
        "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_SH); "
        "print('looking', flush=True); time.sleep(0.2)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run.root / ".lock")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with run.locked():
            assert status(run.root).state == "running"


def test_no_model_library_is_loaded() -> None:
    code = "import sys, rewarm.river.status; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False False\n"
    )
