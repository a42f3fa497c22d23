"""Does a long run leak memory or files? Days of saves, evaluations and journal lines in some minutes, and their slopes.

    python benchmarks/long_run.py [--each save|step] [--steps 1000] [--leak memory|files|handles] [--out FILE]

A small plan of two stages, a release and a control. With `--each save` it saves after every step and scores after
every fourth; eight hours are then a save in 30 seconds. With `--each step` it saves and scores as seldom as by
default, and eight hours are a step in half a second. At each logged step it is looked at: private memory of the
process, open files, threads, child processes, and files and bytes in the run directory and in TMPDIR. Journals grow by
a line as they should and are counted apart, and so are the scores that an unfinished leg keeps to resume from. The
first leg warms up. Over the others a line is fitted, with a level of its own for each leg and a 95 % interval from
whole blocks of samples, so that neighbours that move together do not pass for many. The upper end of each slope is
held against a limit: eight hours may not cost a tenth of the memory there is, and a run of these lengths not one file,
handle, thread or process. `--leak` makes the run lose 64 kB, a file or a handle at each look: the exit code must then
be 1.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from kills import plan_values, write_texts
from turns import machine

from rewarm.launch import tune
from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.storage import read_json

SAVES, EVALUATIONS = 10, 4
"""How often a leg of any length saves and scores by default."""
HOURS, SECONDS = 8, {"save": 30, "step": 0.5}
"""The long run that is meant, and how often it saves, or makes a step."""
BLOCKS = 10
NAMES = ("memory", "handles", "threads", "children", "files", "bytes", "temporary_files")
GROWING = ("journal.jsonl", "scores.jsonl", "ledger.jsonl")


@dataclass(slots=True)
class Looks:
    """What was seen at each look: the leg, the step within it, and the values of `NAMES`."""

    root: Path
    temporary: Path
    leak: str | None
    legs: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    lost: list[Any] = field(default_factory=list)

    def tell(self, label: str, done: float, total: float | None, unit: str) -> None:
        """The run's progress: looks at each logged step."""
        if not label.startswith("train ") or total is None:  # a tokenizer is trained without a total
            return
        self._lose()
        self.legs.append(label)
        self.steps.append(int(done))
        process = psutil.Process()
        files, size = counted(self.root)
        temporary, _ = counted(self.temporary)
        self.rows.append(
            [process.memory_full_info().uss, process.num_fds(), process.num_threads(),
             len(process.children(recursive=True)), files, size, temporary]
        )  # fmt: skip

    def _lose(self) -> None:
        if self.leak == "memory":
            self.lost.append(os.urandom(65_536))
        elif self.leak == "files":
            os.close(tempfile.mkstemp(dir=self.root)[0])
        elif self.leak == "handles":
            self.lost.append(open(os.devnull))  # noqa: SIM115


def counted(root: Path) -> tuple[int, int]:
    """Files and their bytes under a folder, without what grows by a line or waits for its leg to finish."""
    files, size = 0, 0
    for folder, folders, names in os.walk(root):
        if folder.endswith("evaluations") and "during" in folders:
            folders.remove("during")
        folders[:] = [one for one in folders if not one.startswith("partial-")]
        for name in names:
            try:
                size += 0 if name in GROWING else os.stat(os.path.join(folder, name)).st_size
                files += 1
            except FileNotFoundError:  # the thread that saves has just deleted it
                continue
    return files, size


def plan_of(folder: Path, steps: int, each: str) -> dict[str, Any]:
    """The plan of benchmarks/kills.py with shorter rows and more steps; a save after each, and many evaluations."""
    values = plan_values(folder, folder / "run")
    for key in ("save_steps", "eval_every"):
        values.pop(key, None)
    values |= {"seq_len": 32, "batch_tokens": 64, "eval_tokens": 2000}
    if each == "save":
        values |= {"save_steps": 1, "eval_every": 4 * 64}
    for stage in values["stages"]:
        stage |= {"tokens": steps * 64, "max_epochs": 1000}
        if "release" in stage:
            stage["release"] = {"tokens": steps * 32}
    return values


def slope(steps: np.ndarray, seen: np.ndarray, legs: list[str]) -> tuple[float, float, float]:
    """Growth per step with a 95 % interval: least squares with a level for each leg, resampled by whole blocks."""
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    for leg in dict.fromkeys(legs):
        own = np.array([name == leg for name in legs])
        x, y = steps[own], seen[own]
        x, y = x - x.mean(), y - y.mean()
        blocks += list(zip(np.array_split(x, BLOCKS), np.array_split(y, BLOCKS), strict=True))
    products = np.array([(x * y).sum() for x, y in blocks])
    squares = np.array([(x * x).sum() for x, _ in blocks])
    drawn = np.random.default_rng(0).integers(0, len(blocks), (4000, len(blocks)))
    slopes = products[drawn].sum(1) / squares[drawn].sum(1)
    low, high = np.quantile(slopes, (0.025, 0.975))
    return float(products.sum() / squares.sum()), float(low), float(high)


def judged(looks: Looks, each: str) -> dict[str, Any]:
    """The slope of each value over the legs after the first, its limit, and whether it holds.

    A limit is a growth per step: of memory and bytes, a tenth of what there is in eight hours; of the others, one in
    all the steps that were looked at, or in eight hours where those have fewer.
    """
    # By then as many checkpoints lie there as are kept: after some steps, or where saves are seldom after half a leg.
    most = {
        leg: max(step for step, own in zip(looks.steps, looks.legs, strict=True) if own == leg) for leg in looks.legs
    }
    first = {leg: 20 if each == "save" else last // 2 for leg, last in most.items()}
    warm = [place for place, leg in enumerate(looks.legs) if leg != looks.legs[0] and looks.steps[place] > first[leg]]
    legs = [looks.legs[place] for place in warm]
    steps = np.array([looks.steps[place] for place in warm], float)
    rows = np.array(looks.rows)[warm]
    long, made = HOURS * 3600 / SECONDS[each], sum(max(steps[np.array(legs) == leg]) for leg in dict.fromkeys(legs))
    found = {}
    for place, name in enumerate(NAMES):
        seen = rows[:, place]
        per_step, low, high = slope(steps, seen, legs)
        limit = float(np.median(seen)) / 10 / long if name in ("memory", "bytes") else 1 / min(made, long)
        found[name] = {
            "median": float(np.median(seen)), "least": float(seen.min()), "most": float(seen.max()),
            "per_step": per_step, "interval": [low, high], "limit": limit, "holds": bool(high <= limit),
            "in_eight_hours": [low * long, high * long],
        }  # fmt: skip
    return found


def main() -> None:
    """Runs, looks, and judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", choices=("save", "step"), default="save")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--leak", choices=("memory", "files", "handles"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    tune()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        folder, temporary = Path(work), Path(work) / "tmp"
        temporary.mkdir()
        tempfile.tempdir = str(temporary)
        write_texts(folder)
        values = plan_of(folder, given.steps, given.each)
        looks = Looks(folder / "run", temporary, given.leak)
        begun = time.monotonic()
        plan = from_values(values)
        run(plan, Hooks(tell=looks.tell), command="benchmarks/long_run.py")
        seconds = time.monotonic() - begun
        main_run = RunDirectory.of(plan)
        made = [entry["steps"] for one in (main_run, main_run.control("new-only")) for entry in one.finished().values()]
        left = sum(1 for _ in (folder / "run").rglob("during/*")) + sum(1 for _ in temporary.iterdir())
        report = read_json(folder / "run" / "report.json")
    steps = sum(made)
    found = judged(looks, given.each)
    result = {
        "machine": machine(), "each": given.each, "seconds": seconds, "legs": len(made), "steps": steps,
        "saves": steps if given.each == "save" else SAVES * len(made),
        "evaluations": steps // 4 if given.each == "save" else EVALUATIONS * len(made), "looks": len(looks.rows),
        "leak": given.leak, "complete": report["complete"], "in_eight_hours": HOURS * 3600 / SECONDS[given.each],
        "left_behind": left, "values": found,
    }  # fmt: skip
    text = json.dumps(result, indent=1)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    if left or not report["complete"] or not all(one["holds"] for one in found.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
