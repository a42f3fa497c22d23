"""How long a site of many runs takes, and what it needs: copies of one run, each with weights of its own.

    python benchmarks/site.py runs/law --runs 500 [--out FILE]

Says the CPU seconds and the peak memory of a first call and of one that changes nothing, and the size of the pages.
All copies have one base, so that they are compared with each other: the worst case for the comparison. A run of two or
more stages has a history of its own in every copy, a run of one stage has none.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from turns import machine, tell

from rewarm.river.site import build
from rewarm.river.site_read import Limits


def copies(run: Path, folder: Path, count: int) -> None:
    """Copies of a run's report and losses that differ in what its models' weights are called."""
    values = json.loads((run / "report.json").read_text(encoding="utf-8"))
    for number in range(count):
        own = folder / f"run-{number:04d}"
        shutil.copytree(run / "evaluations", own / "evaluations")
        hashes = {
            name: digest if name == "weights base" or not name.startswith("weights") else f"{digest[:-6]}{number:06d}"
            for name, digest in values["hashes"].items()
        }
        text = json.dumps({**values, "hashes": hashes})
        (own / "report.json").write_text(text, encoding="utf-8")


def measured(runs: Path, site: Path) -> dict[str, Any]:
    """One call: what it took, and what lies there afterwards. The peak is that of the process so far."""
    before, start = time.process_time(), time.perf_counter()
    made = build([runs], site, Limits(max_forget=0.01))
    spent, seconds = time.process_time() - before, time.perf_counter() - start
    return {
        "cpu_seconds": round(spent, 1),
        "seconds": round(seconds, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "pages_mb": round(sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6, 1),
        "index_mb": round((site / "index.html").stat().st_size / 1e6, 2),
        "comparisons_mb": round(sum(file.stat().st_size for file in (site / "compare").glob("*.html")) / 1e6, 2),
        "taken_over": made.reused,
        "histories": len(made.site.histories),
    }


def commit() -> str:
    """The commit that is measured, with + where files differ from it; empty outside a clone."""
    given = ["git", "describe", "--always", "--dirty=+"]
    return subprocess.run(given, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Makes the copies in a temporary folder and the site twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    report = json.loads((given.run / "report.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies(given.run, folder / "runs", given.runs)
        calls = {}
        for word in ("first", "again"):
            calls[word] = measured(folder / "runs", folder / "site")
            print(word, calls[word], file=sys.stderr, flush=True)
    shape = {"stages": sum(row["kind"] == "stage" for row in report["rows"]), "watched": len(report["columns"])}
    command = f"python benchmarks/site.py {given.run.name} --runs {given.runs}"
    tell(
        {
            "benchmark": "site", "command": command, "commit": commit(), "machine": machine(), "runs": given.runs,
            "run": shape, "calls": calls,
        },
        given.out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
