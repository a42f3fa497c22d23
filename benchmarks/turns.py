"""Several processes that work in turn, so that what disturbs the machine disturbs all sides of a comparison alike."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


class Turns:
    """A worker's end: it waits for its turn before a step of its work, and answers how long its steps took.

    Answers go over the process's standard output, which nothing else may use: what libraries print goes to its errors.
    """

    def __init__(self) -> None:
        self.left = 0
        self.since = time.perf_counter()
        self.losses: list[float] = []
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def before_step(self) -> None:
        """Called at the start of every step: comes back when there is a step to make."""
        if self.left == 0:
            seconds = time.perf_counter() - self.since
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                json.dumps({"seconds": seconds, "peak_mib": peak, "losses": self.losses}),
                file=self._answers,
                flush=True,
            )
            self.left = int(sys.stdin.readline() or "0")
            if self.left == 0:
                os._exit(0)
            self.since = time.perf_counter()
        self.left -= 1


class Side:
    """The parent's end of a worker process."""

    def __init__(self, label: str, command: list[str], environment: dict[str, str]) -> None:
        self.label = label
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.answers: list[dict[str, Any]] = []

    def ready(self) -> dict[str, Any]:
        """What the worker says when it waits for its first turn."""
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"{self.label} failed:\n{self.errors.read()[-3000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, line: str) -> dict[str, Any]:
        """What the worker answers to a line, once it has done what it says."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)
        return self._answer()

    def turn(self, steps: int, count: bool = True) -> None:
        """Lets the worker make its steps, and waits for them; what it answers is kept if it is to count."""
        answer = self.ask(str(steps))
        if count:
            self.answers.append(answer)

    def close(self) -> None:
        """Ends the worker: it finds nothing more to read."""
        self.process.communicate()
        self.errors.close()


def bar_of(name: str, value: float, bar: float, better: str) -> dict[str, Any]:
    """One line of `make bench`: a measured value, what it is held to (at least, or below), and whether it is met."""
    met = value >= bar if better == "higher" else value < bar
    return {"name": name, "value": float(f"{value:.4g}"), "bar": bar, "better": better, "met": met}


def machine() -> dict[str, Any]:
    """The machine of a reading."""
    return {"processor": platform.processor() or platform.machine(), "cores": len(os.sched_getaffinity(0))}


def tell(result: dict[str, Any], out: Path | None) -> None:
    """Prints a result, and writes it to a file if one was asked for."""
    text = json.dumps(result, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
