"""A run of two processes, one of which is killed at random moments and which torchrun starts again.

    python benchmarks/restarts.py [--kills 5] [--each 2] [--seed 0] [--out FILE]

The plan is that of kills.py, with weights, gradients and moments in parts (`sharding: full`). It is run once
undisturbed by `torchrun --nproc-per-node 2`. Then it is run again and again with `--max-restarts`: at a random moment
one of the two processes, the first and the second by turns, gets a SIGKILL, up to `--each` times a run. torchrun ends
the other one and starts both again, and they go on by themselves. In the end the weights of every leg and the matrix of
scores must be those of the undisturbed run, bit for bit. `after` are the seconds for which both processes were there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from kills import end_of, plan_values, write_texts
from turns import machine


def start(plan: Path, restarts: int) -> subprocess.Popen[str]:
    """torchrun with two processes that carry out a plan; what it says goes to a file beside the plan."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", str(restarts),
        "--master-port", str(port), "-m", "rewarm", "run", str(plan), "--quiet",
    ]  # fmt: skip
    with plan.with_suffix(".log").open("w", encoding="utf-8") as said:
        return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=said, stdout=said, text=True)


def processes(started: subprocess.Popen[str], restarts: int) -> dict[str, psutil.Process]:
    """The two processes that torchrun started after so many restarts, by rank; fewer before and after they live."""
    found = {}
    try:
        for child in psutil.Process(started.pid).children():
            around = child.environ()
            if around.get("TORCHELASTIC_RESTART_COUNT") == str(restarts):
                found[around["RANK"]] = child
    except psutil.Error:
        return {}
    return found


def disturbed(plan: Path, root: Path, moments: list[float]) -> list[dict[str, Any]]:
    """Runs a plan to its end and kills a process so many seconds after both are there (again); what was killed."""
    started, kills, begun = start(plan, len(moments)), [], time.monotonic()
    for wait in moments:
        while started.poll() is None and len(processes(started, len(kills))) < 2:
            time.sleep(0.05)
        there = time.monotonic()
        while started.poll() is None and time.monotonic() - there < wait:
            time.sleep(0.01)
        alive = processes(started, len(kills))
        if started.poll() is not None or len(alive) < 2:
            break
        rank = str(len(kills) % 2)
        alive[rank].send_signal(signal.SIGKILL)
        saved = sorted(int(one.name.partition("-")[2]) for one in root.glob("training/*/checkpoint-*"))
        kills.append({"rank": int(rank), "after": round(wait, 1), "steps of checkpoints": saved})
    if started.wait():
        raise SystemExit(f"a run failed:\n{plan.with_suffix('.log').read_text(encoding='utf-8')[-6000:]}")
    print(f"{root.name}: {time.monotonic() - begun:.0f} s, {json.dumps(kills)}", file=sys.stderr, flush=True)
    return kills


def planned(folder: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """The plan of a run, as a file and as values."""
    values = plan_values(folder, folder / name) | {"sharding": "full", "processes": 2}
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    return file, values


def main() -> None:
    """The undisturbed run, then the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    result: dict[str, Any] = {"machine": machine(), "processes": 2, "sharding": "full", "runs": []}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_texts(folder)
        plan, values = planned(folder, "undisturbed")
        begun = time.monotonic()
        disturbed(plan, folder / "undisturbed", [])
        span, wanted = time.monotonic() - begun, end_of(values)
        while (made := sum(len(run["kills"]) for run in result["runs"])) < given.kills:
            name = f"run-{len(result['runs'])}"
            plan, values = planned(folder, name)
            moments = [draw.uniform(0.05, 0.5) * span for _ in range(min(given.each, given.kills - made))]
            kills = disturbed(plan, folder / name, moments)
            result["runs"].append({"kills": kills, "equal": end_of(values) == wanted})
    result["kills"] = sum(len(run["kills"]) for run in result["runs"])
    result["equal"] = sum(run["equal"] for run in result["runs"])
    runs = len(result["runs"])
    print(f"{result['kills']} kills in {runs} runs, of which {result['equal']} ended as the undisturbed one")
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if result["equal"] < runs:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
