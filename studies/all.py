"""The small form of every study.

    python studies/all.py OUTPUT [--data DATA] [--only WORD ...] [--jobs 2] [--list]

The small form goes through all of a study's code with few tokens and seeds, on the base that ships with rewarm where a
study takes one: it shows that the study still runs, and its numbers say nothing. Of large files of text it reads every
k-th row. What is kept beside a study comes from its long form, on all rows; `--list` prints both commands. DATA is a
folder as docs/studies.md describes it (REWARM_DATA, or ../shared/data beside the project, if not given); studies that
need it are left out without it, which is said. Each study writes into OUTPUT/<name>, with all that it said in log.txt.
Studies run side by side, as many as there are cores; what they leave on the disk but for their results goes. Stopped,
it goes on with the studies that were not finished. Leaves with 1 when a study failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import zstandard

HERE = Path(__file__).parent
ROOT = HERE.parent
BASE = ROOT / "rewarm" / "recipes" / "demo_base"
LARGE = 3_000_000
"""Bytes of unpacked text, above which the small form reads every k-th row of a file."""


@dataclass(frozen=True)
class Study:
    """A study. DATA, OUTPUT and BASE in a command stand for folders."""

    name: str
    question: str
    long: tuple[str, ...]
    """The commands that made what is kept."""
    small: tuple[str, ...]
    kept: str
    """The file of results, relative to this folder; empty where none was kept."""

    @property
    def needs_data(self) -> bool:
        """Whether it reads real text."""
        return any("DATA" in command for command in self.small)


STUDIES = (
    Study(
        "river", "Does 5 % replay keep the old through two domains?",
        ("river.py DATA OUTPUT",), ("river.py DATA OUTPUT --base BASE --tokens 60k",), "results/river.json",
    ),
    Study(
        "tokens-needed", "Do smaller batches need fewer tokens?",
        ("tokens_needed.py DATA OUTPUT --base BASE",),
        ("tokens_needed.py DATA OUTPUT --base BASE --budgets 30k,60k --batches 4096,2048",),
        "results/tokens_needed.json",
    ),
    Study(
        "retention", "Which retention methods beat a lower learning rate?",
        ("retention/study.py DATA OUTPUT --base BASE", "retention/summary.py OUTPUT/comparison.json"),
        ("retention/study.py DATA OUTPUT --base BASE --tokens 8k --seeds 2 --only ewc --jobs 1",
         "retention/summary.py OUTPUT/comparison.json OUTPUT"),
        "retention/results.json",
    ),
    Study(
        "rewarm", "Which claims about re-warming, replay and streams hold in miniature?",
        ("rewarm/study.py OUTPUT --data DATA", "rewarm/summary.py OUTPUT"),
        ("rewarm/study.py OUTPUT --data DATA --small", "rewarm/summary.py OUTPUT OUTPUT"),
        "rewarm/results.json",
    ),
    Study(
        "facts", "Do facts that did not change survive an update?",
        ("facts/study.py DATA OUTPUT --base BASE", "facts/summary.py OUTPUT"),
        ("facts/study.py DATA OUTPUT --base BASE --tokens 8k --seeds 1 --every 8", "facts/summary.py OUTPUT OUTPUT"),
        "facts/results.json",
    ),
    Study(
        "instruct", "What is left of an instruct model after an update?",
        ("instruct/study.py DATA OUTPUT --base BASE", "instruct/summary.py OUTPUT/found"),
        ("instruct/study.py DATA OUTPUT --base BASE --tokens 20k --seeds 2",
         "instruct/summary.py OUTPUT/found OUTPUT"),
        "instruct/results.json",
    ),
    Study(
        "recycle", "Do task weights of an old base serve on the new one?",
        ("recycle/study.py DATA OUTPUT --base BASE --tokens 1200000", "recycle/summary.py OUTPUT/found"),
        ("recycle/study.py DATA OUTPUT --base BASE --tokens 60000 --seeds 2",
         "recycle/summary.py OUTPUT/found OUTPUT"),
        "recycle/results.json",
    ),
    Study(
        "selection", "Is selection worth more than chance at equal tokens?",
        ("selection/study.py DATA OUTPUT --base BASE --tokens 0.9M", "selection/summary.py OUTPUT"),
        ("selection/study.py DATA OUTPUT --base BASE --tokens 60k --seeds 1 --shares 0.3",
         "selection/summary.py OUTPUT OUTPUT"),
        "selection/results.json",
    ),
    Study(
        "records", "Does text of related records teach what single records do not?",
        ("records/study.py DATA OUTPUT --base BASE --tokens 0.3M", "records/summary.py OUTPUT"),
        ("records/study.py DATA OUTPUT --base BASE --tokens 20k --products 500 --probes 40 --seeds 2",
         "records/summary.py OUTPUT OUTPUT"),
        "records/results.json",
    ),
    Study(
        "cossu", "Does continual pre-training forget, and which read-out shows it?",
        ("cossu/study.py DATA OUTPUT --base BASE --tokens 80k --rows 240 --only lm", "cossu/summary.py OUTPUT"),
        ("cossu/study.py DATA OUTPUT --base BASE --tokens 10k --rows 60 --seeds 1 --only lm",
         "cossu/summary.py OUTPUT OUTPUT"),
        "cossu/results.json",
    ),
    Study(
        "languages", "Does the order of languages matter?",
        ("languages/study.py DATA OUTPUT",), ("languages/study.py DATA OUTPUT --base BASE --tokens 8k --seeds 2",),
        "languages/results.json",
    ),
    Study(
        "vocabulary", "What do new tokens do to the old language?",
        ("vocabulary/study.py DATA OUTPUT --base BASE",),
        ("vocabulary/study.py DATA OUTPUT --base BASE --count 60 --tokens 8k --seeds 2 --measured 10",),
        "vocabulary/results.json",
    ),
    Study(
        "tasks", "What does a tagger forget of languages whose labels are gone?",
        ("tasks/study.py DATA OUTPUT",), ("tasks/study.py DATA OUTPUT --rows 40 --epochs 1 --seeds 2",),
        "tasks/results.json",
    ),
    Study(
        "codetask", "Which ways of learning prompts keep earlier tasks?",
        ("codetask/study.py OUTPUT",), ("codetask/study.py OUTPUT --seeds 2",), "codetask/results.json",
    ),
    Study(
        "phrasings", "Does a fact that is told in several ways come out better?",
        ("phrasings/study.py OUTPUT",), ("phrasings/study.py OUTPUT --tokens 20k --people 20 --seeds 2",),
        "phrasings/results.json",
    ),
    Study(
        "forecasts", "Are outcomes within the error that a forecast states?",
        ("forecasts/study.py DATA OUTPUT --first-seed 301",), ("forecasts/study.py DATA OUTPUT --small",),
        "forecasts/results.json",
    ),
    Study(
        "sketches", "Has every file of the standard library a sketch?",
        ("sketches/study.py",), ("sketches/study.py --every 20 --output OUTPUT/results.json",),
        "sketches/results.json",
    ),
    Study(
        "sketch-losses", "Are sketches easier than sources?",
        ("sketches/losses.py '{path: DATA/code/python_pandas_numpy_src.jsonl.zst, keep_fields: [path]}' OUTPUT "
         "--library pandas --library numpy",),
        ("sketches/losses.py '{path: DATA/code/python_pandas_numpy_src.jsonl.zst, keep_fields: [path], limit: 40}' "
         "OUTPUT --library pandas --tokens 20k --seeds 2",),
        "sketches/losses.json",
    ),
)  # fmt: skip


def words(command: str, data: Path | None, output: Path, base: Path) -> list[str]:
    """A command as the words of a call of this Python; folders in place of their names."""
    folders = {"DATA": data, "OUTPUT": output, "BASE": base}
    found = []
    for word in shlex.split(command):
        for name, folder in folders.items():
            word = word.replace(name, str(folder))
        found.append(word)
    return [sys.executable, str(HERE / found[0]), *found[1:]]


def small_text(data: Path, folder: Path) -> Path:
    """A folder like `data`, in which large files hold every k-th row, up to about `LARGE` bytes, and the others are
    links."""
    mark = folder / "made.json"
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == str(data):
        return folder
    for file in sorted(path for path in data.rglob("*") if path.is_file()):
        place = folder / file.relative_to(data)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        packed = file.read_bytes() if file.name.endswith(".jsonl.zst") else b""
        size = zstandard.frame_content_size(packed) if packed else 0
        if size <= LARGE:
            place.symlink_to(file)
            continue
        rows = zstandard.decompress(packed).splitlines(keepends=True)
        place.write_bytes(zstandard.compress(b"".join(rows[:: -(-size // LARGE)])))
    mark.write_text(json.dumps(str(data)), encoding="utf-8")
    return folder


def finish(study: Study, data: Path | None, output: Path, threads: int = 1) -> str:
    """Runs the small form, and says how it ended: `done`, `done before`, or the last line of its log."""
    place = output / study.name
    mark = place / "done.json"
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == list(study.small):
        return "done before"
    place.mkdir(parents=True, exist_ok=True)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    with (place / "log.txt").open("w", encoding="utf-8") as log:
        for command in study.small:
            call = words(command, data, place, BASE)
            ended = subprocess.run(call, stdout=log, stderr=subprocess.STDOUT, check=False, env=environment)
            if ended.returncode:
                log.flush()
                last = (place / "log.txt").read_text(encoding="utf-8").strip().rsplit("\n", 1)[-1]
                return f"failed: {last[:200]}"
    mark.write_text(json.dumps(list(study.small)), encoding="utf-8")
    return "done"


def data_folder(given: Path | None) -> Path | None:
    """Where real text lies, or None."""
    if given is not None:
        return given.resolve()
    found = Path(os.environ.get("REWARM_DATA") or ROOT.parent / "shared" / "data")
    return found.resolve() if found.is_dir() else None


def listed(studies: Sequence[Study]) -> str:
    """Every study with its question, what was kept, and both commands."""
    lines = []
    for study in studies:
        lines.append(f"{study.name}: {study.question}")
        lines.append(f"  kept: {study.kept or 'nothing yet'}")
        lines += [f"    python studies/{command}" for command in study.long]
        lines += ["  small:", *(f"    python studies/{command}" for command in study.small)]
    return "\n".join(lines)


def main() -> int:
    """Runs or lists the studies asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?", default=ROOT / "runs" / "studies")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="Words of names.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="Studies side by side.")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    chosen = [study for study in STUDIES if not given.only or any(word in study.name for word in given.only)]
    if given.list:
        print(listed(chosen))
        return 0
    data, output, first = data_folder(given.data), given.output.resolve(), time.monotonic()
    if data is not None and any(study.needs_data for study in chosen):
        data = small_text(data, output / "text")

    def told(study: Study) -> str:
        began = time.monotonic()
        if study.needs_data and data is None:
            how = "left out: it needs real text, name its folder with --data or REWARM_DATA"
        else:
            how = finish(study, data, output, max(1, (os.cpu_count() or 1) // given.jobs))
        print(f"{study.name:<14} {(time.monotonic() - began) / 60:5.1f} min  {how}", flush=True)
        return how

    with ThreadPoolExecutor(given.jobs) as pool:
        failed = sum(how.startswith("failed") for how in pool.map(told, chosen))
    print(f"{len(chosen)} studies, {failed} failed, {(time.monotonic() - first) / 60:.1f} minutes; {given.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
