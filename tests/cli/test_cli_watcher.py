"""Progress and stopping: lines, bars, the first signal and the second."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.cli import watcher
from rewarm.cli.verb import Manner
from rewarm.cli.watcher import Watcher
from rewarm.river.directory import RunDirectory
from rewarm.training import journal
from rewarm.types import Stopped

COMMAND = "from rewarm.cli import main\nmain()"


def test_without_a_terminal_a_line_is_written_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 0.0, 1.0, 4.9, 5.0, 5.0, 6.0, 12.0, 12.0])
    monkeypatch.setattr(watcher.time, "monotonic", lambda: next(seconds))
    with Watcher(Manner()) as found:
        found.tell("tokenise old", 1000, None, "tokens")
        found.tell("tokenise old", 2000, None, "tokens")
        found.tell("train stage-1", 1, 30, "steps")
        found.tell("train stage-1", 2, 30, "steps")
        found.tell("train stage-1", 3, 30, "steps")
        found.tell("train stage-1", 30, 30, "steps")
    lines = ["tokenise old: 1,000 tokens", "train stage-1: 2/30 steps", "train stage-1: 30/30 steps"]
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize("manner", [Manner(quiet=True), Manner(as_json=True)])
def test_nothing_is_shown_when_asked_to_be_quiet(manner: Manner, capsys: pytest.CaptureFixture[str]) -> None:
    with Watcher(manner) as found:
        found.tell("train", 1, 2, "steps")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar_with_the_time_left() -> None:
    code = (
        "import time\nfrom rewarm.cli.verb import Manner\nfrom rewarm.cli.watcher import Watcher\n"
        "with Watcher(Manner()) as watcher:\n"
        "    for done in range(1, 6):\n"
        "        watcher.tell('tokenise [old]', done * 1000, 20_000, 'tokens')\n        time.sleep(0.15)\n"
    )
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=slave, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert process.wait(timeout=30) == 0
    text = shown.decode()
    assert "tokenise [old]" in text
    assert "5,000/20,000 tokens" in text
    assert "/s" in text
    assert "00:0" in text


def test_the_first_signal_asks_and_the_second_quits(python: Any) -> None:
    code = (
        "import os, signal, sys\nfrom rewarm.cli.verb import Manner\nfrom rewarm.cli.watcher import Watcher\n"
        "with Watcher(Manner(as_json='--json' in sys.argv)) as watcher:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    assert watcher.stopping\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    print('still here')\n"
    )
    process = python(code)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err.splitlines() == [
        "rewarm: saving and stopping; once more quits at once",
        "rewarm: quit at once; the newest checkpoint is whole, and the same command goes on from it",
    ]
    process = python(code, "--json")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["exit_code"], err) == (1, 1, "")


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Watcher(Manner()):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_before_training_leaves_nothing_half_made(write_plan: Callable[..., Path], tmp_path: Path) -> None:
    from rewarm.plan import load
    from rewarm.river.run import run
    from rewarm.river.train import Hooks

    plan = load(write_plan(tmp_path))
    with pytest.raises(Stopped, match="stopped at 'tokenise new'"):
        run(plan, Hooks(stop=lambda: True))
    assert not list((tmp_path / "run").rglob("*.partial"))


def start(python: Callable[..., Any], plan: Path) -> tuple[subprocess.Popen[str], Path]:
    """A run in a process of its own that has begun to train, and its directory."""
    run = plan.parent / "run"
    process = python(COMMAND, "run", plan)
    steps = run / "training" / "stage-1-update" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not steps.is_file() or steps.stat().st_size == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, run


def test_sigterm_saves_and_the_same_command_goes_on(
    python: Any, cli: Any, write_plan: Callable[..., Path], tmp_path: Path
) -> None:
    stage = {"name": "update", "data": "new", "tokens": 128_000, "max_epochs": 1000, "learning_rate": 1e-3}
    plan = write_plan(tmp_path, stages=[stage], save_steps=10_000, eval_every=0)
    process, run = start(python, plan)
    beside = cli("status", run, "--json").json()
    assert beside["state"] == "running"
    assert [(leg["state"], leg["steps"]) for leg in beside["legs"]] == [("running", 500)]
    refused = cli("run", plan)
    assert refused.code == 3
    assert "another rewarm process runs" in refused.err
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "rewarm: saving and stopping; once more quits at once\n" in err
    assert "saved. The same command goes on from there" in err
    assert "Traceback" not in err
    stopped = cli("status", run, "--json").json()
    assert stopped["state"] == "stopped"
    leg = stopped["legs"][0]
    assert leg["state"] == "stopped"
    assert 0 < leg["saved"] < 500
    assert (run / "training" / "stage-1-update" / f"checkpoint-{leg['saved']}" / "complete.json").is_file()
    assert leg["seconds_left"] > 0
    finished = cli("run", plan, "--quiet")
    assert finished.code == 0, finished.err
    assert cli("status", run, "--json").json()["state"] == "done"
    (tmp_path / "unbroken").mkdir()
    assert cli("run", write_plan(tmp_path / "unbroken", stages=[stage], save_steps=10_000, eval_every=0)).code == 0
    assert weights(run) == weights(tmp_path / "unbroken" / "run")
    assert journal.read(run / "training" / "stage-1-update" / "journal.jsonl")[-1]["step"] == 500


def weights(run: Path) -> str:
    """The hash of the final weights that the ledger of a run holds."""
    return str(RunDirectory(run).finished()["stage-1-update"]["weights_sha256"])
