"""The standard library of the running Python as sketches: python studies/sketches/study.py [--every 1] [--output FILE]

Every file in mode `constants`, and one in eight by its name's hash in `names` and `both`. Counts files sketched, files
without a sketch by reason, and whether the laws hold: a sketch parses, a sketch of a sketch is that sketch, and a
generator's document gives its source back. Of the files it takes every one, or one in `--every`. Writes results.json
beside this file, or FILE.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import sysconfig
import warnings
from collections import Counter
from pathlib import Path

from rewarm.hashing import text_hash
from rewarm.sketches.blocks import interleave, recovered
from rewarm.sketches.sketching import Settings, edits, sketch
from rewarm.sketches.source import Source, Unsketchable, edited

RESULTS = Path(__file__).with_name("results.json")
ROOT = Path(sysconfig.get_path("stdlib"))
ONE_IN = 8


def main() -> None:
    """Sketches every file and writes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    files = sorted(file for file in ROOT.rglob("*.py") if "site-packages" not in file.parts)[:: given.every]
    counts: Counter[str] = Counter()
    without: dict[str, list[str]] = {}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for number, (found, reason, name) in enumerate(pool.imap_unordered(looked_at, files, chunksize=8), 1):
            counts.update(found)
            if reason:
                without.setdefault(reason, []).append(name)
            if number % 200 == 0:
                print(f"{number} of {len(files)} files", file=sys.stderr, flush=True)
    found = {
        "python": platform.python_version(),
        "files": len(files),
        "without_sketch": {reason: len(names) for reason, names in without.items()},
        **dict(sorted(counts.items())),
        "files_without_sketch": {reason: sorted(names) for reason, names in without.items()},
    }
    given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def looked_at(file: Path) -> tuple[Counter[str], str, str]:
    """What to count of a file, and why it has no sketch."""
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    name = str(file.relative_to(ROOT))
    try:
        text = file.read_bytes().decode("utf-8")
        source = Source(text)
        sampled = text_hash(name) % ONE_IN == 0
        for settings in [Settings(), *([Settings("names"), Settings("both")] if sampled else [])]:
            counts[f"{settings.mode}: files"] += 1
            made = edited(text, edits(text, source, settings))
            counts[f"{settings.mode}: sketched"] += 1
            counts[f"{settings.mode}: characters of sources"] += len(text)
            counts[f"{settings.mode}: characters of sketches"] += len(made)
            again = sketch(made, settings)  # which parses it
            counts[f"{settings.mode}: parse and are their own sketch"] += again == made
        document = interleave(text, Settings(), source)
        counts["generator: characters"] += len(document.text)
        counts["generator: give their source back"] += (
            recovered({"text": document.text, "blocks": document.spans}).encode() == file.read_bytes()
        )
    except UnicodeDecodeError:
        return counts, "is not UTF-8", name
    except Unsketchable as error:
        return counts, str(error), name
    return counts, "", name


if __name__ == "__main__":
    main()
