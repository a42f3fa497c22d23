"""A leg of twelve steps on invented ids, and the scene that a retention method finds there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.retention import Retention, Scene
from rewarm.schedules.cosine import Cosine
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.loop import Outcome, train
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import Batch, StreamState

STEPS = 12
TOKENS = 16


def _stream(folder: Path, seed: int) -> DocumentStream:
    source = np.random.default_rng(seed)
    ids: list[Any] = [source.integers(3, 400, length).astype(np.uint16) for length in source.integers(5, 40, 60)]
    with StoreWriter(folder, np.dtype(np.uint16)) as writer:
        writer.add(ids, [len(document) for document in ids], range(60), range(60))
    return DocumentStream(Store(folder), np.arange(60), 0, folder.name)


@pytest.fixture
def streams(tmp_path: Path) -> dict[str, DocumentStream]:
    """Two corpora of sixty documents: `new`, which the stage learns, and `old`, a quarter of its rows."""
    return {name: _stream(tmp_path / name, seed) for seed, name in enumerate(("new", "old"))}


@pytest.fixture
def leg(tmp_path: Path, streams: dict[str, DocumentStream]) -> Leg:
    """Twelve steps of four rows of 16 tokens in two micro-batches; one row of each step is replay (source 1)."""
    sources = [Source(name, stream) for name, stream in streams.items()]
    rows = StageRows(sources, np.tile(np.array([0, 1, 0, 0], np.uint8), (STEPS, 1)), TOKENS, 2)
    return Leg(
        name="leg", folder=tmp_path / "leg", rows=rows, schedule=Cosine(warmup=0.25), peak=1e-2, past=StreamState(),
        key="key", precision=torch.float32, seed=3, log_every=5, save_steps=3,
    )  # fmt: skip


@pytest.fixture
def make_scene(
    tmp_path: Path, streams: dict[str, DocumentStream], make_tiny: Callable[..., Any]
) -> Callable[..., Scene]:
    """A function: model, family, **changes -> the scene at the start of the leg; its base is the fresh tiny model."""

    def rows(text: str, count: int) -> Iterator[Batch]:
        stream = streams["new" if text == "new" else "old"]
        drawn = StageRows([Source(text, stream, 1000)], np.zeros((count, 1), np.uint8), TOKENS, 1)
        for batches in drawn.iterate(0):
            yield from batches

    def make(model: Any, family: str = "llama", **changes: Any) -> Scene:
        scene = Scene(
            model=model, rows=rows, base=lambda: make_tiny(family).requires_grad_(False), cache=tmp_path / "cache",
            seed=1, precision=torch.float32, steps=STEPS, replayed=frozenset([1]),
        )  # fmt: skip
        return dataclasses.replace(scene, **changes)

    return make


@pytest.fixture
def fit(make_scene: Callable[..., Scene], leg: Leg) -> Callable[..., Outcome]:
    """A function: model, method (None for plain training), leg=, family=, stop_after=, measured= -> how the leg ended.

    It does what a run does: parameters are selected, the method measures, the loop trains, the keeper finishes.
    """

    def run(
        model: Any,
        method: Retention | None,
        leg: Leg = leg,
        family: str = "llama",
        stop_after: int | None = None,
        measured: Mapping[str, Any] | None = None,
    ) -> Outcome:
        done = 0

        def stop() -> bool:
            nonlocal done
            done += 1
            return done == stop_after

        keepers = Keepers({})
        if method is not None:
            method.select(model)
            scene = make_scene(model, family)
            keeper = method.keeper(scene, method.measure(scene) if measured is None else measured)
            keepers = Keepers({method.method_name(): keeper})
        optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
        outcome = train(model, optimizer, leg, [], stop, lambda step, entry: None, keepers)
        if not outcome.stopped:
            keepers.finish()
        return outcome

    return run
