"""Starts the jail for one program and reads its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from rewarm.sandbox import Limits, Outcome
from rewarm.types import UserError

GRACE = 20.0
"""Seconds that the jail has beyond the program's own, to be built and torn down on a busy machine."""
KEPT = 4000
"""Characters of output that are kept."""


def run_program(program: str, limits: Limits | None = None) -> Outcome:
    """Runs the text of a Python program, once, shut in as well as this machine allows; all its processes are dead then.

    UserError on a system other than Linux, or when the jail cannot be built at all.
    """
    if sys.platform != "linux":
        raise UserError(f"programs are run on Linux only, and this is {sys.platform}: leave suites of type code out")
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="rewarm-sandbox-") as folder:
        asked = {
            "program": program, "folder": folder, "packages": _packages(), "seconds": limits.seconds,
            "memory": limits.memory, "files": limits.files, "output": limits.output, "processes": limits.processes,
            "kept": KEPT,
        }  # fmt: skip
        report = _report(json.dumps(asked).encode(), folder, limits.seconds + GRACE)
    if "error" in report:
        raise UserError(f"the sandbox could not be built: {report['error']}. docs/code.md says what it needs")
    return Outcome(report["end"], report["fault"], report["output"], report["protections"])


@cache
def protections() -> dict[str, bool]:
    """What contains a program on this machine, found out by running an empty one."""
    return run_program("", Limits(seconds=10)).protections


def _packages() -> list[str]:
    """The folders of installed packages, so that a program can import numpy."""
    names = ("site-packages", "dist-packages")
    return [path for path in sys.path if Path(path).name in names and Path(path).is_dir()]


def _report(asked: bytes, folder: str, seconds: float) -> dict[str, Any]:
    # As isolated as -I, but for the variable that makes the order of sets the same in every run.
    command = [sys.executable, "-P", "-s", "-S", str(Path(__file__).with_name("jail.py"))]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=_ENVIRONMENT,
        start_new_session=True,
    )  # fmt: skip
    try:
        found, faults = child.communicate(asked, timeout=seconds)
    except subprocess.TimeoutExpired:
        found, faults = b"", b""
        return {"end": "timed out", "fault": "", "output": "", "protections": {}}
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    try:
        report: dict[str, Any] = json.loads(found)
    except ValueError:
        if child.returncode == -signal.SIGKILL:  # only where it shares its user with the program, and its processes
            return {"end": "crash", "fault": "the guard was killed", "output": "", "protections": {}}
        last = faults.decode(errors="replace").strip().rpartition("\n")[2]
        return {"error": last or f"it ended with status {child.returncode} and no report"}
    return report


_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nowhere", "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
}  # fmt: skip
