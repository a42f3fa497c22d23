"""Several runs side by side, each in a process of its own with its part of the machine: its cores, or its GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rewarm.plan import Plan
from rewarm.sandbox import permission
from rewarm.types import Stopped, Tell

Process = subprocess.Popen[bytes]
_LOOK_SECONDS = 0.5


def side_by_side(plans: Sequence[Plan], jobs: int, tell: Tell, stop: Callable[[], bool]) -> None:
    """Runs every plan, at most `jobs` at a time; what each prints goes to `<output_dir>/output.txt`.

    The first runs alone, so that the others find what they share prepared. When asked to stop, the runs save and
    Stopped is raised. RuntimeError with the end of its output when a run fails; those beside it save and stop, too.
    """
    waiting, running, width = list(plans), dict[int, tuple[Plan, Process]](), 1
    try:
        while waiting or running:
            while waiting and len(running) < width:
                place = min({*range(jobs)} - {*running})
                running[place] = (waiting[0], _started(waiting.pop(0), place, jobs))
            time.sleep(_LOOK_SECONDS)
            if stop():
                raise Stopped("stopped; the runs are saved. The same command goes on from there")
            for place in [place for place, (_, process) in running.items() if process.poll() is not None]:
                plan, process = running.pop(place)
                _check(plan, process)
                width = jobs
                tell("runs side by side", len(plans) - len(waiting) - len(running), len(plans), "runs")
    finally:
        for _, process in running.values():
            process.send_signal(signal.SIGTERM)
        for _, process in running.values():
            process.wait()


def _started(plan: Plan, place: int, jobs: int) -> Process:
    folder = Path(plan.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "plan.json"
    file.write_text(json.dumps(plan.resolved(), indent=1) + "\n", encoding="utf-8")
    environment = dict(os.environ)
    if torch.cuda.is_available():
        environment["CUDA_VISIBLE_DEVICES"] = str(place % torch.cuda.device_count())
    else:
        # More threads than cores make each of them wait for the others, up to ten times as long.
        environment["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    with (folder / "output.txt").open("ab") as output:
        command = [sys.executable, "-m", "rewarm", "run", str(file), "--quiet"]
        command += ["--execute"] if permission.allowed() else []
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)


def _check(plan: Plan, process: Process) -> None:
    if process.returncode:
        last = (Path(plan.output_dir) / "output.txt").read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        raise RuntimeError(f"the run in '{plan.output_dir}' ended with exit code {process.returncode}: {last}")
