"""Saving: what ten saves a leg, the default, cost the training loop.

    python benchmarks/saving.py [--shapes demo-256,pythia-70m-256] [--rounds 5] [--out FILE]

Real legs of the training loop on a real disk (the folder of `--folder`, by default the system's for temporary files),
with a save every tenth of the steps and without one, taking turns. One process for each shape, in rewarm's allocator
settings; a short leg before the first round is left out. Two times of a whole leg on a shared machine do not tell 2 %
apart, so the cost is measured inside the loop, too:

`blocking`: time between two steps in which the loop waits for a save (copying the state, and waiting for the save
before this one), over the time of the leg from its first step to its last. The bar is set on it. The end of the leg,
where the loop waits until the last save is on disk, is given apart (`end_seconds`): a leg has one, however long it is.
`slow_down`: time of the steps during which a write was under way, over that of the others (of the leg without saves
where nearly all have one), less the waiting: what the writing takes away from the steps. `cost` is both together as a
share of the leg, and `interval_for_bar` how long an interval between saves must be for the cost to be 2 %.
`synchronous`: seconds that a save takes when the loop waits for the disk; `blocking_of_synchronous` is the share of it
that is left. A leg has 60 steps, but 20 of the large shape, which is measured in one round; `seconds_per_interval` says
how far apart its saves are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from training import SHAPES, make_model, make_rows
from turns import bar_of, machine, tell

BAR = 0.02
SAVES = 10
WARM_UP = 2
FEWEST_STEPS = 10
# Steps of a leg, rows of a step, and the rounds at most: what ends in the benchmark's share of the time.
LEGS = {
    "demo-256": (60, 6, 99),
    "llama-192x6-256": (40, 8, 2),
    "pythia-14m-256": (20, 4, 2),
    "pythia-70m-256": (20, 2, 1),
}


def leg_with(shape: dict[str, Any], steps: int, saves: int, folder: Path) -> dict[str, Any]:
    """One leg, with so many saves: when each step ended, what each save took of the loop, and when it was written."""
    import torch

    from rewarm.schedules.constant import Constant
    from rewarm.training import checkpoint, loop
    from rewarm.training.leg import Leg
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.training.saving import Saver
    from rewarm.types import StreamState

    ends: list[float] = []
    waits: list[tuple[float, float]] = []
    writes: list[tuple[float, float]] = []

    class WatchedSaver(Saver):
        """Notes when the loop waits and when the thread writes."""

        def save(self, *arguments: Any) -> None:
            start = time.perf_counter()
            super().save(*arguments)
            waits.append((start, time.perf_counter()))

        def _write(self, *arguments: Any) -> None:
            start = time.perf_counter()
            super()._write(*arguments)
            writes.append((start, time.perf_counter()))

    loop.Saver = WatchedSaver  # type: ignore[misc]
    model = make_model(shape)
    optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    leg = Leg(
        name="benchmark", folder=folder / "leg", rows=make_rows(shape, steps, folder), schedule=Constant(), peak=1e-3,
        past=StreamState(), key="benchmark", precision=torch.float32, log_every=1,
        save_steps=max(1, steps // saves) if saves else None,
    )  # fmt: skip
    loop.train(model, optimizer, leg, [], lambda: False, lambda step, entry: ends.append(time.perf_counter()))
    found = {"ends": ends, "waits": waits, "writes": writes, "end_seconds": time.perf_counter() - ends[-1]}
    if saves:
        found["synchronous"] = [_synchronous(checkpoint, folder / "leg", model, optimizer, step) for step in (1, 2, 3)]
        found["bytes"] = sum(file.stat().st_size for file in (folder / "leg" / "checkpoint-1").iterdir())
    return found


def _synchronous(checkpoint: Any, folder: Path, model: Any, optimizer: Any, step: int) -> float:
    from rewarm.training.keepers import Keepers

    start = time.perf_counter()
    checkpoint.write(folder, step, checkpoint.state_of(model, optimizer, Keepers({})), "benchmark")
    return time.perf_counter() - start


def worker(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """The measured process: every round of both sides, the first of which is left out and short."""
    steps, rows, _ = LEGS[name]
    shape = SHAPES[name] | {"rows": rows}
    sides: dict[str, list[dict[str, Any]]] = {"saving": [], "not saving": []}
    for number in range(rounds + 1):
        for side, legs in sides.items():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                saves = SAVES if side == "saving" else 0
                found = leg_with(shape, steps if number else WARM_UP + 1, saves if number else 0, Path(place))
            legs += [found] if number else []
    return sides


def leg_numbers(leg: dict[str, Any], other: list[float]) -> dict[str, float]:
    """Shares and seconds of one leg that was saved; all but the last save, after which no step comes.

    `other` are the steps of the leg beside it that was not saved.
    """
    ends, waits, writes = leg["ends"][WARM_UP:], leg["waits"][:-1], leg["writes"]
    length = ends[-1] - ends[0]
    busy: list[float] = []
    free: list[float] = []
    for start, end in pairwise(ends):
        waiting = _overlap(waits, start, end)
        (busy if _overlap(writes, start, end) > 0 else free).append(end - start - waiting)
    waited = sum(end - start for start, end in waits)
    # Steps of the same leg tell best; where writes cover nearly all of them, those of the leg beside it must do.
    typical = statistics.median(free if len(free) >= FEWEST_STEPS else other)
    slowed = sum(seconds - typical for seconds in busy)
    return {
        "seconds": length,
        "seconds_per_interval": length / (len(waits) + 1),
        "blocking": waited / length,
        "blocking_seconds": statistics.median(end - start for start, end in waits),
        "writing_seconds": statistics.median(end - start for start, end in writes),
        "slow_down": statistics.median(busy) / typical if busy else 1.0,
        "cost": (waited + slowed) / length,
        "interval_for_bar": (waited + slowed) / len(waits) / BAR,
        "end_seconds": leg["end_seconds"],
        "synchronous_seconds": statistics.median(leg["synchronous"]),
    }


def _overlap(spans: list[tuple[float, float]], start: float, end: float) -> float:
    return sum(max(0.0, min(end, last) - max(start, first)) for first, last in spans)


def measure(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """One shape: medians over the rounds, and what each round read."""
    from rewarm.launch import tuned_environment

    rounds = min(rounds, LEGS[name][2])
    command = [sys.executable, __file__, "--worker", name, "--rounds", str(rounds), "--folder", str(folder)]
    environment = os.environ | {"REWARM_TUNED": "off"} | tuned_environment()
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{name} failed:\n{finished.stderr[-2000:]}")
    sides = json.loads(finished.stdout.strip().split("\n")[-1])
    others = [[end - start for start, end in pairwise(leg["ends"][WARM_UP:])] for leg in sides["not saving"]]
    readings = [leg_numbers(leg, other) for leg, other in zip(sides["saving"], others, strict=True)]
    row: dict[str, Any] = {key: round(statistics.median(found[key] for found in readings), 5) for key in readings[0]}
    without = [sum(other) for other in others]
    ratios = [found["seconds"] / other for found, other in zip(readings, without, strict=True)]
    return {
        "shape": name, "rounds": rounds, "steps": LEGS[name][0], "saves": SAVES,
        "checkpoint_mb": round(sides["saving"][0]["bytes"] / 1e6, 1), **row,
        "blocking_of_synchronous": round(row["blocking_seconds"] / row["synchronous_seconds"], 3),
        "leg_over_leg_without_saving": round(statistics.median(ratios), 4), "readings": readings,
        "seconds_without_saving": without,
    }  # fmt: skip


def main() -> None:
    """Measures, prints each shape's row, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="demo-256", help=f"of {', '.join(LEGS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="a folder on the disk to save to"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options.worker, options.rounds, options.folder)))
        return
    rows = [measure(name, options.rounds, options.folder) for name in options.shapes.split(",")]
    bars = [
        bar_of(f"saving, {row['shape']}: share of the leg that waits", row["blocking"], BAR, "lower") for row in rows
    ]
    tell({"machine": machine(), "bars": bars, "shapes": rows}, options.out)


if __name__ == "__main__":
    main()
