"""A first-time user's way, walked in a fresh clone and timed: install, demo, own text, plan, run, report, next month.

    python benchmarks/first_time.py [--data DATA] [--budget 300k] [--work FOLDER] [--out FILE]

Clones this repository's last commit into FOLDER (a temporary one if not given), where there is no environment, and
enters the commands of README.md and docs/tutorial.md one after another, each as a shell would. A command that ends
otherwise than it should ends the walk. The new text is statutes, and the next month's abstracts, from the folder DATA
(REWARM_DATA if not given); without one, halves of the code that the tutorial writes. Writes what each step took on the
clock, which holds what pip downloads, and the last line it said.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turns import machine

ROOT = Path(__file__).parent.parent
REAL = ("domains/legal_us_code.jsonl.zst", "domains/pubmed_abstracts.jsonl.zst")
TUTORIAL = """
import shutil
from pathlib import Path
from rewarm.recipes import demo, demo_text
demo_text.write(Path("text"))
shutil.copytree(demo.BASE, "base")
lines = Path("text/code.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
Path("text/this-month.jsonl").write_text("".join(lines[::2]), encoding="utf-8")
Path("text/next-month.jsonl").write_text("".join(lines[1::2]), encoding="utf-8")
"""


@dataclass(frozen=True)
class Step:
    """What a user wants, the command, and the exit codes that are right."""

    name: str
    command: str
    right: tuple[int, ...] = (0,)


def way(data: Path | None, budget: str) -> list[Step]:
    """The steps in order; commands are entered in the clone."""
    new, following = (str(data / name) for name in REAL) if data else ("text/this-month.jsonl", "text/next-month.jsonl")
    texts = f"--new {new} --old text/old.jsonl"
    return [
        Step("install", "make setup"),
        Step("demo", "make demo"),
        Step("text and a base", f"python -c '{TUTORIAL}'"),
        Step("a plan by hand", f"rewarm init --base base {texts} --output by-hand.yaml"),
        Step("check it", "rewarm check by-hand.yaml"),
        Step("what would planning take", f"rewarm plan base {texts} --max-forget 10% --budget {budget} --dry-run"),
        Step("plan", f"rewarm plan base {texts} --max-forget 10% --budget {budget} --quiet"),
        Step("check", "rewarm check plan.yaml"),
        Step("run", "rewarm run plan.yaml --quiet"),
        Step("report", "rewarm report runs/plan"),
        Step("gate", "rewarm gate runs/plan --max-forget 10% --min-gain 3%", (0, 2)),
        Step("next month", f"rewarm add-stage runs/plan --corpus {following} --name next --tokens 60k --quiet"),
        Step("all runs", "rewarm report runs/plan runs/demo/run --site site-of-runs"),
        Step("is it whole", "rewarm verify runs/plan"),
    ]


def walk(steps: list[Step], clone: Path) -> list[dict[str, Any]]:
    """Enters each command; what it took, how it ended and what it said last."""
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment["PATH"] = f"{clone / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    walked = []
    for step in steps:
        begun = time.monotonic()
        done = subprocess.run(["sh", "-c", step.command], cwd=clone, env=environment, capture_output=True, text=True)
        seconds = time.monotonic() - begun
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()
        shown = step.command if len(step.command) < 200 else "docs/tutorial.md, 1."
        walked.append({"step": step.name, "command": shown, "seconds": round(seconds, 1), "exit": done.returncode})
        walked[-1]["last line"] = said[-1][:200].replace(str(clone), "CLONE") if said else ""
        print(f"{step.name:<26}{seconds:7.1f} s  exit {done.returncode}  {walked[-1]['last line']}", flush=True)
        if done.returncode not in step.right:
            raise SystemExit(f"{step.command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return walked


def main() -> None:
    """Clones, walks, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("REWARM_DATA"))
    parser.add_argument("--budget", default="300k", help="most tokens of the planned update")
    parser.add_argument("--work", type=Path, help="a folder that does not exist yet, to keep the clone in")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "first_time.json")
    given = parser.parse_args()
    data = Path(given.data).resolve() if given.data else None
    with tempfile.TemporaryDirectory() as temporary:
        clone = (given.work or Path(temporary) / "rewarm").resolve()
        load, begun = os.getloadavg()[0], time.monotonic()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        steps = walk(way(data, given.budget), clone)
    total = time.monotonic() - begun
    for step in steps if data else ():
        step["command"] = step["command"].replace(str(data), "DATA")
    found = {"machine": machine() | {"load before": round(load, 1)}, "text": "real" if data else "code"}
    found |= {"minutes": round(total / 60, 1), "steps": steps}
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{total / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
