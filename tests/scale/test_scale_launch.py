"""A command as several processes: each knows its place, and what comes back is the exit code of the first."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

CODE = """
import os, sys, time
from rewarm.launch import start_together
if "RANK" not in os.environ:
    sys.exit(start_together(2))
rank = int(os.environ["RANK"])
open(os.path.join(sys.argv[1], f"{rank}-of-{os.environ['WORLD_SIZE']}"), "w").close()
if len(sys.argv) > 2:
    time.sleep(60)
sys.exit(3 if rank == 0 else 0)
"""


def test_the_exit_code_is_that_of_the_first(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], check=False).returncode == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0-of-2", "1-of-2"]


def test_a_signal_is_passed_on_to_all(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path), "sleep"])
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.terminate()
    assert process.wait(30) == 1
