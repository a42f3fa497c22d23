"""Several processes against one: the same weights and losses after 200 steps, and after going on with other numbers.

    python benchmarks/scale.py [--steps 200] [--methods] [--out FILE]

A small Llama in fp32 learns the same rows with rewarm's loop in 1, 2 and 4 processes of this machine, with whole
weights in each (`none`) and in parts (`full`, FSDP2). `2 full -> 4 full -> 1 -> 2 none` is stopped after each quarter
of the steps: checkpoints in parts, which 4 processes and one read. A step has six rows in passes of one row, which four
processes cannot divide evenly. `weights` is the largest difference of any weight from that of one process, `losses` of
the loss of any step, in nats per token. Times are no claim: on shared CPUs more processes make no step faster.
`--methods` compares every retention method and adapter instead (scale_methods.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import scale_methods
from training import make_model, make_rows
from turns import bar_of, machine, tell

BAR = 1e-5
SHAPE: dict[str, Any] = {
    "config": {
        "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2,
    },
    "seq_len": 64,
    "rows": 6,
    "document": 48,
}  # fmt: skip


def work(folder: Path, name: str, sharded: bool, steps: int, until: int) -> None:
    """One process: trains the leg `name` to the step `until`; the first one keeps the weights."""
    import torch

    from rewarm.schedules.cosine import Cosine
    from rewarm.training import checkpoint, sharding, world
    from rewarm.training.leg import Leg
    from rewarm.training.loop import train
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.types import StreamState

    torch.set_num_threads(1)
    here, model = world.start(), make_model(SHAPE)
    own = folder / f"store-{here.rank}"
    own.mkdir(exist_ok=True)
    rows = dataclasses.replace(make_rows(SHAPE, steps, own), micro_rows=1)
    shards = sharding.Shards(model, here) if sharded else None
    leg = Leg(
        name=name, folder=folder / name, rows=rows, schedule=Cosine(warmup=0.1), peak=1e-3, past=StreamState(),
        key="scale", precision=torch.float32, log_every=1, save_steps=steps, spread=shards,
    )  # fmt: skip
    done = max(checkpoint.steps_saved(leg.folder), default=0)

    def stop() -> bool:
        nonlocal done
        done += 1
        return done >= until

    optimizer = Optimizer(shards or model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    train(model, optimizer, leg, [], stop, lambda step, entry: None)
    here.end(0)


def processes(count: int, given: list[str]) -> float:
    """Runs `work` in so many processes; the seconds it took."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = os.environ | {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    start = time.perf_counter()
    ranks = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"} for rank in range(count)]
    started = [subprocess.Popen([sys.executable, __file__, "--work", *given], env=each) for each in ranks]
    if sum(abs(process.wait()) for process in started):
        raise SystemExit(f"{count} processes failed: {given}")
    return time.perf_counter() - start


def differences(folder: Path, name: str, steps: int) -> dict[str, float]:
    """How far a leg is from that of one process."""
    from rewarm.training import checkpoint, journal

    found, wanted = (checkpoint.tensors(folder / one / f"checkpoint-{steps}", "weights") for one in (name, "1"))
    losses = [[entry["loss"] for entry in journal.read(folder / one / "journal.jsonl")] for one in (name, "1")]
    assert len(losses[0]) == len(losses[1]) == steps
    return {
        "weights": max(float((found[key] - wanted[key]).abs().max()) for key in wanted),
        "losses": max(abs(mine - other) for mine, other in zip(*losses, strict=True)),
    }


def compare(steps: int) -> dict[str, Any]:
    """Every number of processes against one."""
    ways = {"1": [(1, False, steps)]}
    for count in (2, 4):
        ways |= {f"{count}, none": [(count, False, steps)], f"{count}, full": [(count, True, steps)]}
    ways["2 full -> 4 full -> 1 -> 2 none"] = [
        (2, True, steps // 4), (4, True, steps // 2), (1, False, 3 * steps // 4), (2, False, steps)
    ]  # fmt: skip
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, parts in ways.items():
            given = [[place, name, str(int(sharded)), str(steps), str(until)] for _, sharded, until in parts]
            seconds = 0.0
            for (count, _, until), each in zip(parts, given, strict=True):
                seconds += processes(count, each)
                assert (Path(place) / name / f"checkpoint-{until}").is_dir()  # it stopped there, and goes on from there
            found[name] = {**differences(Path(place), name, steps), "seconds": round(seconds, 1)}
            print(name, json.dumps(found[name]), file=sys.stderr, flush=True)
    bars = [
        bar_of(f"{name} processes: {what} less those of one", found[name][what], BAR, "lower")
        for name in found
        if name != "1"
        for what in ("weights", "losses")
    ]
    return {"benchmark": "scale", "machine": machine(), "steps": steps, "ways": found, "bars": bars}


def compare_methods(steps: int) -> dict[str, Any]:
    """Every method in two processes and then three, against one."""
    with tempfile.TemporaryDirectory() as place:
        for way, count, until in (
            ("one", 1, steps), ("none", 2, steps // 3), ("none", 3, steps), ("full", 2, steps // 3), ("full", 3, steps)
        ):  # fmt: skip
            seconds = processes(count, [place, way, "methods", str(steps), str(until)])
            print(way, count, f"{seconds:.1f} s", file=sys.stderr, flush=True)
        found = scale_methods.differences(Path(place))
    bars = [
        bar_of(f"{name}, {way}: weights less those of one", away, BAR, "lower")
        for name, ways in found.items()
        for way, away in ways.items()
    ]
    return {"benchmark": "scale_methods", "machine": machine(), "steps": steps, "methods": found, "bars": bars}


def main() -> None:
    """Runs the comparison, or one process of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--methods", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        folder, name, sharded, steps, until = options.work
        if sharded == "methods":
            scale_methods.train_all(Path(folder), name, int(steps), int(until), SHAPE)
        else:
            work(Path(folder), name, bool(int(sharded)), int(steps), int(until))
    else:
        tell((compare_methods if options.methods else compare)(options.steps), options.out)


if __name__ == "__main__":
    main()
