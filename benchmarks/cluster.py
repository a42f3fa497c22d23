"""Preparation on a Ray cluster of this machine beside the local path: are bytes and manifests the same?

    python benchmarks/cluster.py [--megabytes 8] [--workers 2] [--out FILE]

Made-up text is tokenised, deduplicated, selected and compared with a later edition of itself, once by the local path
and once on a cluster; SHA-256 of every file that was made is compared. Needs Ray (`make test-cluster` sets it up).
Times are told and no bar is set: two workers of one machine show nothing about several machines. Exit code 2 when
anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = ("tokenise", "deduplicate", "select", "diff")


def write_text(folder: Path, megabytes: float) -> None:
    """Two editions of documents of 2 kB, of which one in ten nearly repeats another, and some watched text."""
    source = random.Random(0)
    vocabulary = ["".join(source.choices("abcdefghijklmnop", k=source.randint(2, 9))) for _ in range(5000)]

    def document() -> list[str]:
        made = source.choices(vocabulary, k=330)
        made[9::12] = [f"{word}." for word in made[9::12]]
        return made

    texts = [document() for _ in range(max(20, int(megabytes * 500)))]
    for place in range(10, len(texts), 10):
        texts[place] = [*texts[place - 5][:-3], "another", "end", "here."]
    watched = [document() for _ in range(20)]
    for place in range(7, len(texts), 50):
        texts[place][40:60] = watched[place % 20][:20]
    later = [[*text[:100], "changed", *text[101:]] if place % 3 else text for place, text in enumerate(texts)]
    for name, every in (("new", texts), ("later", later), ("watched", watched)):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for place, words in enumerate(every):
                file.write(json.dumps({"id": f"{place:08d}", "text": " ".join(words)}) + "\n")


def works(folder: Path) -> dict[str, Callable[[Any, Path], Any]]:
    """What each step does, by an engine, into a folder."""
    from rewarm.corpora.jsonl import Jsonl
    from rewarm.difference.editions import editions
    from rewarm.difference.folder import OutputFolder
    from rewarm.difference.run import Job, Settings
    from rewarm.river.deduplicating import Deduplicate
    from rewarm.river.selecting import Select
    from rewarm.selection import cleaning
    from rewarm.selection.budget import Budget
    from rewarm.selection.ngram_importance import NgramImportance
    from rewarm.tokens.prepare import prepare
    from rewarm.tokens.tokenizer import TextTokenizer, train
    from rewarm.types import silent

    new, watched = (Jsonl(path=str(folder / f"{name}.jsonl")) for name in ("new", "watched"))
    train((document.text for document in watched.read(_bad())), 1000, folder / "tokenizer")
    tokenizer = TextTokenizer(folder / "tokenizer")
    compare = cleaning.Settings(0.8, 13)
    return {
        "tokenise": lambda engine, out: prepare("new", new, tokenizer, out, 0.0, engine=engine),
        "deduplicate": lambda engine, out: Deduplicate(
            new, {}, {"watched": watched}, {}, compare, out / "kept.jsonl.zst"
        ).run(engine=engine),
        "select": lambda engine, out: Select(
            new, NgramImportance(), Budget(share=0.3), str(folder / "tokenizer"), out / "picked.jsonl.zst",
            out / "work", watched,
        ).run(engine=engine),
        "diff": lambda engine, out: Job(
            *editions(str(folder / "new.jsonl"), str(folder / "later.jsonl"), "id", None), OutputFolder(out), Settings()
        ).run(silent, lambda: False, engine),
    }  # fmt: skip


def _bad() -> Any:
    from rewarm.types import BadRows

    return BadRows()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder but locks."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def measure(folder: Path, workers: int) -> dict[str, Any]:
    """Of each step: seconds by each engine, files made, and those that differ."""
    from rewarm.engines.cluster import Cluster

    found: dict[str, dict[str, Any]] = {step: {"seconds": {}} for step in STEPS}
    made: dict[str, dict[str, dict[str, str]]] = {step: {} for step in STEPS}
    every = works(folder)
    begun = time.perf_counter()
    with Cluster("local", workers) as cluster:
        start = time.perf_counter() - begun
        for step, work in every.items():
            for name, engine in (("local", None), ("ray", cluster)):
                begun = time.perf_counter()
                work(engine, folder / "out")
                found[step]["seconds"][name] = round(time.perf_counter() - begun, 2)
                made[step][name] = digests(folder / "out")
                shutil.rmtree(folder / "out")
                print(f"{step} {name}: {found[step]['seconds'][name]} s", file=sys.stderr, flush=True)
    for step, both in made.items():
        names = both["local"].keys() | both["ray"].keys()
        differing = sorted(name for name in names if both["local"].get(name) != both["ray"].get(name))
        found[step] |= {"files": len(both["local"]), "differing": differing}
    equal = all(not one["differing"] and one["files"] for one in found.values())
    return {"equal": equal, "workers": workers, "cores": os.cpu_count(), "cluster_start_seconds": round(start, 1),
            "steps": found}  # fmt: skip


def main() -> int:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_text(Path(folder), asked.megabytes)
        found = {"megabytes": asked.megabytes, **measure(Path(folder), asked.workers)}
    shown = json.dumps(found, indent=1)
    print(shown)
    if asked.out is not None:
        asked.out.write_text(shown + "\n", encoding="utf-8")
    return 0 if found["equal"] else 2


if __name__ == "__main__":
    sys.exit(main())
