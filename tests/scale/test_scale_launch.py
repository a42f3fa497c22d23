"""A command as several processes: each knows its place, and what comes back is the exit code of the first."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist

from rewarm.training.world import _met

CODE = """
import os, signal, sys, time
from rewarm.launch import start_together
folder, how = sys.argv[1:]
if "RANK" not in os.environ:
    sys.exit(start_together(2, 2))
rank = int(os.environ["RANK"])
with open(os.path.join(folder, f"{rank}-of-{os.environ['WORLD_SIZE']}"), "a") as file:
    file.write("x")
if how == "sleep":
    time.sleep(60)
if how == "die" and os.path.getsize(file.name) < 3 and rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if how == "die" and os.path.getsize(file.name) < 3:
    sys.exit(1)
sys.exit(3 if rank == 0 and how == "fail" else 0)
"""


def test_the_exit_code_is_that_of_the_first(tmp_path: Path) -> None:
    """What is started again is what was killed, not what failed."""
    assert subprocess.run([sys.executable, "-c", CODE, str(tmp_path), "fail"], check=False).returncode == 3
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"0-of-2": "x", "1-of-2": "x"}


def test_all_start_again_when_one_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path), "die"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert [line.partition(";")[0] for line in done.stderr.splitlines()] == ["rewarm: process 1 of 2 was killed"] * 2
    assert (tmp_path / "1-of-2").read_text() == "xxx"


def test_a_signal_is_passed_on_to_all(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path), "sleep"])
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.terminate()
    assert process.wait(30) == 1


def test_processes_that_start_again_meet_under_another_name() -> None:
    """torchrun's store outlives them: what those before asked and answered is still there."""
    store, names = dist.HashStore(), []
    for size in (3, 3, 2):
        with ThreadPoolExecutor(size) as pool:
            found = list(pool.map(lambda rank, size=size: _met(store, rank, size, timedelta(seconds=30)), range(size)))
        assert len(set(found)) == 1
        names.append(found[0])
    assert len(set(names)) == 3
    with pytest.raises(RuntimeError, match="process 1 of 2 did not come within"):
        _met(dist.HashStore(), 0, 2, timedelta(seconds=0))
