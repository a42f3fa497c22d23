"""Every retention method and adapter in several processes, whole and in parts, against one: weights after a leg.

`benchmarks/scale.py --methods` runs it. A small Llama learns the same rows in one process; and in two to a third of the
steps and in three from there on, so that each leg also goes on with another number of processes. The figure is the
largest difference of any weight from that of one process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training import make_model, make_rows

RETENTION: dict[str, dict[str, Any]] = {
    "a-gem": {"rows": 5, "memory": 16},
    "das": {"rows": 4},
    "das, mask: gradients": {"mask": "gradients", "rows": 4, "general": "text"},
    "distillation": {"strength": 3.0},
    "distillation, teacher: start": {"teacher": "start", "on": "all"},
    "distillation, labels: new": {"labels": "new", "on": "all"},
    "distillation, top_k: 16": {"top_k": 16, "on": "all"},
    "distillation, swap": {"swap": True, "on": "all"},
    "ema": {"horizon": 4},
    "ewc": {"rows": 4},
    "freeze": {},
    "l2-sp": {},
    "moments": {},
    "lr-adjust": {},
    "recadam": {},
    "reptile": {"every": 5, "epsilon": 0.5},
}
ADAPTERS: dict[str, dict[str, Any]] = {"block-expansion": {}, "k-adapter": {}, "lora": {}, "modular": {}}
NAMES = (*RETENTION, *ADAPTERS)


def train_all(folder: Path, way: str, steps: int, until: int, shape: dict[str, Any]) -> None:
    """One process: trains a leg with each method to the step `until`; the first process keeps the weights."""
    import numpy as np

    from rewarm.training import world

    here = world.start()
    own = folder / f"store-{way}-{here.rank}-{until}"
    own.mkdir(exist_ok=True)
    rows = dataclasses.replace(make_rows(shape, steps, own), micro_rows=1)
    # A third of each step is replay: of the same corpus, from another row on.
    old = dataclasses.replace(rows.sources[0], name="old", first_row=1000)
    source_SR = np.tile(np.arange(shape["rows"], dtype=np.uint8) % 3 == 1, (steps, 1)).astype(np.uint8)
    rows = dataclasses.replace(rows, sources=[*rows.sources, old], source_SR=source_SR)
    for name in NAMES:
        train_one(folder, way, name, rows, until, shape)
    here.end(0)


def train_one(folder: Path, way: str, name: str, rows: Any, until: int, shape: dict[str, Any]) -> None:
    """A leg with one method, in this process and those beside it."""
    import torch

    from rewarm.methods import build
    from rewarm.retention import Scene
    from rewarm.schedules.cosine import Cosine
    from rewarm.training import checkpoint, sharding, world
    from rewarm.training.keepers import Keepers
    from rewarm.training.leg import Leg
    from rewarm.training.loop import train
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.types import Batch, StreamState

    here, model, kind = world.current(), make_model(shape), name.partition(",")[0]

    def text(which: str, count: int) -> Iterator[Batch]:
        wanted = dataclasses.replace(rows, source_SR=rows.source_SR[:count, :1] * 0 + (which == "old"))
        for batches in wanted.iterate(0):
            yield from batches

    keepers = Keepers({})
    if kind in ADAPTERS:
        adapter: Any = build("adapters", {"type": kind, **ADAPTERS[name]})
        adapter.attach(model, 0)
    else:
        method: Any = build("retention", {"type": kind, **RETENTION[name]})
        method.select(model)
        scene = Scene(
            model, text, lambda: make_model(shape).requires_grad_(False), folder / f"cache-{way}", 1, torch.float32,
            rows.steps, frozenset([1]),
        )  # fmt: skip
        keepers = Keepers({kind: method.keeper(scene, method.measure(scene))})
    shards = sharding.Shards(model, here) if way == "full" else None
    if shards is not None:
        sharding.divide(keepers, shards)
    leg = Leg(
        name=name, folder=folder / way / name, rows=rows, schedule=Cosine(warmup=0.1), peak=1e-3, past=StreamState(),
        key="scale", precision=torch.float32, log_every=1, save_steps=rows.steps, spread=shards,
    )  # fmt: skip
    done = max(checkpoint.steps_saved(leg.folder), default=0)

    def stop() -> bool:
        nonlocal done
        done += 1
        return done >= until

    optimizer = Optimizer(shards or model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    outcome = train(model, optimizer, leg, [], stop, lambda step, entry: None, keepers)
    if outcome.stopped:
        return
    keepers.finish()
    trained = {key: one.detach() for key, one in model.named_parameters() if one.requires_grad}
    found = trained if shards is None else shards.weights()
    if here.is_first:
        checkpoint.write_tensors(leg.folder / "end.safetensors", found)


def differences(folder: Path) -> dict[str, dict[str, float]]:
    """The largest difference of a weight from that of one process, by method and way."""
    from safetensors.torch import load_file

    found: dict[str, dict[str, float]] = {}
    for name in NAMES:
        wanted = load_file(folder / "one" / name / "end.safetensors")
        for way in ("none", "full"):
            own = load_file(folder / way / name / "end.safetensors")
            assert own.keys() == wanted.keys()
            away = max(float((own[key] - value).abs().max()) for key, value in wanted.items())
            found.setdefault(name, {})[way] = away
    return found
