"""Every benchmark in turn, and one table of all bars: what was measured, what it is held to, whether it is met.

    make bench
    python benchmarks/all.py [--only training,data] [--out benchmarks/results] [--bare-python PYTHON]

Writes one JSON per benchmark into the folder. Run it with nothing else on the machine: processes that share its cores
slow down some sides of a comparison more than others. PYTHON measures start-up: one without the peers' packages, which
transformers would import, too. Ends with 0 when all bars are met and with 2 when one is missed;
docs/performance.md explains those that are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BENCHMARKS = (
    "startup",
    "data",
    "saving",
    "growth",
    "evaluation",
    "training",
    "retention",
    "difference",
    "selection",
    "gpu",
)


def run(name: str, folder: Path, python: str, console: Console) -> list[dict[str, Any]]:
    """Runs one benchmark; its bars, or one that is missed when it ended with an error."""
    result = folder / f"{name}.json"
    command = [python, str(Path(__file__).with_name(f"{name}.py")), "--out", str(result)]
    if name == "growth":
        command += ["--picture", str(folder / "growth.svg")]
    start = time.perf_counter()
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    console.print(f"{name}: {time.perf_counter() - start:.0f} s", highlight=False)
    if finished.returncode or not result.is_file():
        console.print(finished.stderr[-2000:], highlight=False, markup=False)
        return [{"name": f"{name} runs", "value": 0.0, "bar": 1.0, "better": "higher", "met": False}]
    bars: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))["bars"]
    return bars


def table(bars: list[dict[str, Any]]) -> Table:
    """All bars, with the missed ones marked."""
    made = Table("what", "measured", "bar", "met")
    for bar in bars:
        sign = ">=" if bar["better"] == "higher" else "<"
        made.add_row(bar["name"], f"{bar['value']:.4g}", f"{sign} {bar['bar']:.4g}", "yes" if bar["met"] else "MISSED")
    return made


def main() -> None:
    """Runs the benchmarks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    parser.add_argument("--bare-python", default=sys.executable)
    options = parser.parse_args()
    pythons = {"startup": options.bare_python}
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=140)
    start = time.perf_counter()
    names = options.only.split(",")
    bars = [bar for name in names for bar in run(name, options.out, pythons.get(name, sys.executable), console)]
    console.print(table(bars))
    missed = sum(not bar["met"] for bar in bars)
    console.print(f"{len(bars)} bars, {missed} missed, {time.perf_counter() - start:.0f} s", highlight=False)
    sys.exit(2 if missed else 0)


if __name__ == "__main__":
    main()
