"""What holding the old costs: a training step with a retention method against a plain one.

    python benchmarks/retention.py [--shape llama-192x6-256] [--rounds 5] [--steps 1] [--out FILE]

Every side is a process of its own that trains the same model on the same rows in the same order with rewarm's loop, in
fp32 and eagerly, and is given a few steps in turn (A B C A B C ...). The median of the rounds' ratios to the plain side
is quoted. Every fourth row is replay. `distillation` teaches those rows, as it does by default, and with `all` every
row, which costs the most; `cached` has the 64 largest probabilities of every row on disk already, `live` asks the
teacher. The others measure before their first step: that is not counted. The bars are set on `all`.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training import RATE, SHAPES, WARM_UP, make_model, make_rows
from turns import Side, Turns, bar_of, machine, tell

PLAIN = "plain"
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "l2-sp": ("l2-sp", {}),
    "ewc": ("ewc", {}),
    "distillation, all, cached": ("distillation", {"on": "all", "top_k": 64}),
    "distillation, all, live": ("distillation", {"on": "all"}),
    "distillation, replay, cached": ("distillation", {"on": "replay", "top_k": 64}),
    "distillation, replay, live": ("distillation", {"on": "replay"}),
}
BARS = {"l2-sp": 1.1, "ewc": 1.1, "distillation, all, cached": 1.2, "distillation, all, live": 1.5}
REPLAYED = 4


def sides() -> list[str]:
    """The plain side, and those whose method this version has."""
    from rewarm.methods import known

    return [PLAIN, *(label for label, (name, _) in WAYS.items() if name in known("retention"))]


def keepers_of(label: str, model: Any, rows: Any, folder: Path) -> Any:
    """The side's method, as a run sets it up; a cached one has read every row once."""
    import torch

    from rewarm.methods import find
    from rewarm.retention import Retention, Scene
    from rewarm.training.keepers import Keepers

    if label == PLAIN:
        return Keepers({})

    def some(text: str, count: int) -> Iterator[Any]:
        from rewarm.tokens.loader import StageRows

        drawn = StageRows(rows.sources, rows.source_SR.reshape(-1, 1)[:count], rows.seq_len, 1)
        for batches in drawn.iterate(0):
            yield from batches

    name, options = WAYS[label]
    method: Any = find("retention", name)(**options)
    assert isinstance(method, Retention)
    start = copy.deepcopy(model).eval().requires_grad_(False)
    scene = Scene(
        model=model, rows=some, base=lambda: start, cache=folder / "cache", seed=0, precision=torch.float32,
        steps=rows.steps, replayed=frozenset([1]),
    )  # fmt: skip
    method.select(model)
    measured = method.measure(scene)
    if label.endswith("cached"):
        first = Keepers({name: method.keeper(scene, measured)})
        for step in range(rows.steps):
            for batch in rows.batches(step):
                first.terms(batch)
    return Keepers({name: method.keeper(scene, measured)})


def worker(label: str, shape: dict[str, Any], steps: int) -> None:
    """The measured process: rewarm's loop, a few steps whenever it is its turn."""
    import torch

    from rewarm.schedules.constant import Constant
    from rewarm.tokens.loader import Source, StageRows
    from rewarm.training.leg import Leg
    from rewarm.training.loop import train
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.types import StreamState

    turns = Turns()

    class Paced(Constant):
        def rate(self, *arguments: Any) -> float:
            turns.before_step()
            return RATE

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_rows(shape, steps, folder)
        made.source_SR[:, ::REPLAYED] = 1
        (new,) = made.sources
        rows = StageRows([new, Source("old", new.stream)], made.source_SR, made.seq_len, made.micro_rows)
        model = make_model(shape)
        keepers = keepers_of(label, model, rows, folder)
        leg = Leg(
            name="benchmark", folder=folder / "leg", rows=rows, schedule=Paced(), peak=RATE, past=StreamState(),
            key="benchmark", precision=torch.float32, log_every=10,
        )  # fmt: skip
        optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
        train(model, optimizer, leg, [], lambda: False, lambda step, entry: None, keepers)


def compare(name: str, rounds: int, steps: int) -> dict[str, Any]:
    """All sides on one shape, in turn: seconds of a step, and their ratio to the plain side's of the same round."""
    from rewarm.launch import tuned_environment

    environment = dict(os.environ, REWARM_TUNED="off") | tuned_environment()
    total = WARM_UP + rounds * steps + 1
    command = [sys.executable, __file__, "--shape", name, "--steps", str(total), "--worker"]
    running = {label: Side(label, [*command, label], environment) for label in sides()}
    for side in running.values():
        side.ready()
    for side in running.values():
        side.turn(WARM_UP, count=False)
    for _ in range(rounds):
        for side in running.values():
            side.turn(steps)
    row: dict[str, Any] = {"shape": name, "rounds": rounds, "steps a round": steps}
    plain = [answer["seconds"] / steps for answer in running[PLAIN].answers]
    for label, side in running.items():
        side.close()
        seconds = [answer["seconds"] / steps for answer in side.answers]
        ratios = [own / other for own, other in zip(seconds, plain, strict=True)]
        row[label] = {
            "seconds": round(statistics.median(seconds), 4),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "peak_mib": round(side.answers[-1]["peak_mib"]),
        }
    return row


def main() -> None:
    """Measures, prints the row with its bars, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="llama-192x6-256")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=[PLAIN, *WAYS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, SHAPES[options.shape], options.steps)
        return
    row = compare(options.shape, options.rounds, options.steps)
    held = [
        bar_of(f"{options.shape}: {label} / plain", row[label]["ratio"], bar, "lower")
        for label, bar in BARS.items()
        if label in row
    ]
    tell({"machine": machine(), "rows": [row], "bars": held}, options.out)


if __name__ == "__main__":
    main()
