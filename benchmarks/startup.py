"""Start-up: how long `rewarm --help` and `rewarm check PLAN` take, from the call to the end of the process.

    python benchmarks/startup.py [--rounds 5] [--helps 2] [--out FILE]

Each round calls `rewarm --help` (`--helps` times), `rewarm check` on the demo's text and base with a plan that `rewarm
init` wrote, and a Python that only imports torch and the model class of transformers, which no verb that looks at a
model can do without. All are fresh processes; the median of the rounds is quoted. `cpu` is the processor time of the
process, which says more than its time on a machine that does other things, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import bar_of, machine, tell

BARS = {"rewarm --help": 0.3, "rewarm check": 3.0}
LIBRARIES = "import torch; from transformers import AutoModelForCausalLM, PreTrainedModel"


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and processor seconds of a process; SystemExit when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors.decode()[-2000:]}")
    return seconds, used.ru_utime + used.ru_stime


def first_plan(folder: Path) -> Path:
    """A plan for the demo's base and text, as `rewarm init` writes it."""
    from rewarm.recipes.demo import BASE, write
    from rewarm.recipes.first_plan import first_plan as text_of

    text = write(folder)
    news = [str(text[name]) for name in ("wiki", "code")]
    plan = folder / "plan.yaml"
    plan.write_text(text_of(str(BASE), news, [str(text["old"])], str(folder / "run")), encoding="utf-8")
    return plan


def measure(plan: Path, rounds: int, helps: int) -> dict[str, list[tuple[float, float]]]:
    """Readings of every command, interleaved; a round before them, which fills the disk's caches, is left out."""
    rewarm = [sys.executable, "-m", "rewarm"]
    commands = {
        "rewarm --help": ([*rewarm, "--help"], helps),
        "rewarm check": ([*rewarm, "check", str(plan)], 1),
        "libraries alone": ([sys.executable, "-c", LIBRARIES], 1),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, (command, times) in commands.items():
            readings = [timed(command) for _ in range(times)]
            found[name] += readings if number else []
    return found


def main() -> None:
    """Measures, prints the result, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--helps", type=int, default=2, help="calls of --help in each round")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(first_plan(Path(folder)), options.rounds, options.helps)
    rows = {
        name: {
            "seconds": round(statistics.median(seconds for seconds, _ in readings), 3),
            "cpu": round(statistics.median(cpu for _, cpu in readings), 3),
            "readings": [round(seconds, 3) for seconds, _ in readings],
        }
        for name, readings in found.items()
    }
    bars = [bar_of(f"{name} (s)", rows[name]["seconds"], bar, "lower") for name, bar in BARS.items()]
    tell({"machine": machine(), "bars": bars, "commands": rows}, options.out)


if __name__ == "__main__":
    main()
