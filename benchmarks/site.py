"""How long a site of many runs takes, and what it needs: copies of one run, each with weights of its own.

    python benchmarks/site.py runs/law --runs 500

Prints the CPU seconds and the peak memory of a first call and of one that changes nothing, and the size of the pages.
All copies have one base, so that they are compared with each other: the worst case for the comparison.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    """Makes the copies in a temporary folder and the site twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies(given.run, folder / "runs", given.runs)
        for word in ("first", "again"):
            before = time.process_time()
            made = build([folder / "runs"], folder / "site", Limits(max_forget=0.01))
            seconds = time.process_time() - before
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            size = sum(file.stat().st_size for file in (folder / "site").rglob("*") if file.is_file()) / 1e6
            index = (folder / "site" / "index.html").stat().st_size / 1e6
            print(
                f"{word}: {given.runs} runs, {seconds:.1f} CPU seconds, peak {peak:.0f} MiB, pages {size:.1f} MB, "
                f"index {index:.2f} MB, {made.reused} pages taken over, {len(made.site.histories)} histories",
                flush=True,
            )


if __name__ == "__main__":
    main()
