"""Every retention method and adapter trains the same in several processes as in one, whole and in parts, also when it
is stopped and goes on with another number of processes.

One pair and one triple of processes run all of them, one after the other: what costs is to start processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.methods import build, known
from rewarm.models.load import weights_hash
from rewarm.retention import Scene
from rewarm.retention.distillation import Distilling
from rewarm.schedules.cosine import Cosine
from rewarm.tokens.loader import StageRows
from rewarm.training import journal, sharding, world
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.loop import train
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import Batch, StreamState

STEPS, STOP, CLOSE = 9, 4, 1e-5
ELSEWHERE = {"l2-sp", "ewc", "recadam", "ema", "freeze", "lr-adjust", "lora"}  # test_scale_loop.py; no hooks
Together = Callable[..., list[Any]]
RETENTION: dict[str, dict[str, Any]] = {
    "moments": {"batches": 3},
    "reptile": {"every": 3, "epsilon": 0.5},
    "a-gem": {"rows": 5, "memory": 16},
    "a-gem, every 3": {"rows": 3, "memory": 16, "every": 3},
    "das": {"rows": 4},
    "das, gradients": {"rows": 4, "mask": "gradients", "general": "text", "protect_down": True},
    "distillation": {"strength": 3.0},
    "distillation, start": {"teacher": "start", "on": "all", "labels": "new"},
    "distillation, cached": {"top_k": 8, "swap": True, "on": "all"},
}
ADAPTERS: dict[str, dict[str, Any]] = {"block-expansion": {}, "k-adapter": {}, "modular": {"depth": 0.5}}


@dataclasses.dataclass(frozen=True)
class Place:
    """What the legs of a test have in common."""

    folder: Path
    rows: StageRows
    make: Callable[[], Any]

    def leg(self, way: str, name: str) -> Leg:
        return Leg(
            name="leg", folder=self.folder / way / name, rows=self.rows, schedule=Cosine(warmup=0.25), peak=1e-3,
            past=StreamState(), key="key", precision=torch.float32, seed=3, log_every=4, save_steps=STEPS,
        )  # fmt: skip

    def scene(self, model: Any, way: str) -> Scene:
        def rows(text: str, count: int) -> Iterator[Batch]:
            wanted = dataclasses.replace(
                self.rows, source_SR=np.full((count, 1), int(text == "old"), np.uint8), micro_rows=1
            )
            for batches in wanted.iterate(0):
                yield from batches

        base = lambda: self.make().requires_grad_(False)  # noqa: E731
        return Scene(model, rows, base, self.folder / way / "cache", 1, torch.float32, STEPS, frozenset([1]))


@dataclasses.dataclass
class Trained:
    weights: dict[str, Any]
    readings: list[dict[str, float]]
    reached: int
    """Values of this process's weights or gradients that the method holds or changes; all of them where it has none."""
    teacher: bool
    """Whether the teacher, if any, is the base to the bit."""


@pytest.fixture
def place(tmp_path: Path, stage_rows: Callable[..., Any], make_tiny: Callable[..., Any]) -> Place:
    """Five rows of 16 tokens a step, one a pass, of which two are replay."""
    rows = stage_rows(STEPS, 5, 1)
    source = rows.sources[0]
    both = [source, dataclasses.replace(source, name="old", first_row=40)]
    rows = dataclasses.replace(rows, sources=both, source_SR=np.tile(np.array([0, 1, 0, 0, 1], np.uint8), (STEPS, 1)))
    return Place(tmp_path, rows, lambda: make_tiny("llama"))


def fit(place: Place, name: str, way: str, stop_at: int | None) -> Trained:
    """One leg in this process and those beside it, to its end or until so many steps are made."""
    here, done, kind, model = world.current(), 0, name.partition(",")[0], place.make()
    keepers = Keepers({})
    if kind in ADAPTERS:
        build("adapters", {"type": kind, **ADAPTERS[name]}).attach(model, 0)  # type: ignore[attr-defined]
    else:
        method: Any = build("retention", {"type": kind, **RETENTION[name]})
        assert method.alone(in_parts=True) is None
        method.select(model)
        scene = place.scene(model, f"{way}-{here.rank}")
        keepers = Keepers({"method": method.keeper(scene, method.measure(scene))})
    spread = sharding.Shards(model, here) if way == "full" else None
    if spread is not None:
        sharding.divide(keepers, spread)

    def stop() -> bool:
        nonlocal done
        done += 1
        return done == stop_at and here.rank == here.size - 1

    leg = dataclasses.replace(place.leg(way, name), spread=spread)
    optimizer = Optimizer(spread or model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    outcome = train(model, optimizer, leg, [], stop, lambda step, entry: None, keepers)
    assert outcome.resumed == (STOP if stop_at is None and way != "one" else None)
    keepers.finish()
    own = dict(model.named_parameters()) if spread is None else spread.weights()
    trained = {key: value for key, value in own.items() if spread is not None or value.requires_grad}
    readings = [entry.get("retention", {}).get("method", {}) for entry in journal.read(leg.folder / "journal.jsonl")]
    held = keepers.held.get("method")
    return Trained(
        {key: value.detach().cpu().clone().numpy() for key, value in trained.items()},
        [{key: value for key, value in entry.items() if key != "cached"} for entry in readings],
        _reached(held),
        not isinstance(held, Distilling) or _is_base(held, place),
    )


def _reached(keeper: Any) -> int:
    """How many values of this process's part the method acts on."""
    if hasattr(keeper, "masks"):
        return sum(int((mask > 0).expand_as(one).sum()) for one, mask in keeper.masks.items())
    for held in ("parameters", "weights"):
        if hasattr(keeper, held):
            found: Any = getattr(keeper, held)
            return sum(one.numel() for one in (found.values() if isinstance(found, dict) else found))
    return 1


def _is_base(keeper: Any, place: Place) -> bool:
    asked = keeper.teacher._objective  # None in a process whose rows were not taught
    return asked is None or weights_hash(asked.model) == weights_hash(place.make())


def fit_all(place: Place, stop_at: int | None) -> dict[tuple[str, str], Trained | str]:
    return {(way, name): fit(place, name, way, stop_at) for way in ("none", "full") for name in (*RETENTION, *ADAPTERS)}


def test_every_method_trains_the_same_with_several_processes(place: Place, together: Together) -> None:
    both = known("retention") | known("adapters")
    assert {name.partition(",")[0] for name in (*RETENTION, *ADAPTERS)} | ELSEWHERE == set(both)
    assert all(method.several for method in both.values())
    wanted = {name: fit(place, name, "one", None) for name in (*RETENTION, *ADAPTERS)}
    for found in together(2, fit_all, place, STOP):
        assert not isinstance(found, Exception), found
        assert {one.teacher for one in found.values()} == {True}
        assert min(one.reached for one in found.values()) > 0
    for found in together(3, fit_all, place, None):
        assert not isinstance(found, Exception), found
        for (way, name), one in found.items():
            assert one.weights.keys() == wanted[name].weights.keys()
            away = max(np.abs(one.weights[key] - value).max() for key, value in wanted[name].weights.items())
            assert away <= CLOSE, (way, name)
            for mine, other in zip(one.readings, wanted[name].readings, strict=True):
                assert mine == pytest.approx(other, abs=CLOSE, rel=1e-3), (way, name)
