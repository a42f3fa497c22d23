"""Checkpoints in parts: each process writes its own, any number reads them, and all agree on which is good."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch import Tensor

from rewarm.retention import Scene
from rewarm.retention.ema import Ema
from rewarm.schedules.cosine import Cosine
from rewarm.training import checkpoint, parts, sharding, world
from rewarm.training.divided import copied
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.loop import train
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import StorageError, StreamState

OPTIONS = AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0)
STEPS = 6
MakeTiny = Callable[..., Any]
Together = Callable[..., list[Any]]


@pytest.fixture
def leg(tmp_path: Path, stage_rows: Callable[..., Any]) -> Leg:
    rows = stage_rows(STEPS, 4, 1)
    return Leg(
        name="leg", folder=tmp_path / "leg", rows=rows, schedule=Cosine(warmup=0.25), peak=1e-3, past=StreamState(),
        key="key", precision=torch.float32, seed=3, log_every=1, save_steps=2, save_total_limit=9,
    )  # fmt: skip


def fit(model: Any, leg: Leg, sharded: bool = True, stop_at: int | None = None, before: Any = None) -> tuple[Any, ...]:
    """What one process does; the step it went on from, notes, whole weights, and what it holds of the optimizer."""
    here, done = world.current(), 0
    method, rows = Ema(horizon=4, start=0.25), [leg.rows.batches(0)[0]]
    scene = Scene(model, lambda text, count: iter(rows), lambda: model, leg.folder, 0, torch.float32, STEPS)
    keepers = Keepers({"ema": method.keeper(scene, {})})
    spread = sharding.Shards(model, here) if sharded else None
    if spread is not None:
        sharding.divide(keepers, spread)
    optimizer = Optimizer(spread or model, OPTIONS)

    def stop() -> bool:
        nonlocal done
        done += 1
        if before is not None:
            before(done)
        return done == stop_at

    own = dataclasses.replace(leg, spread=spread)
    outcome = train(model, optimizer, own, [], stop, lambda step, entry: None, keepers)
    if not outcome.stopped:
        keepers.finish()  # the weights become their average
    weights = spread.weights() if spread is not None else dict(model.named_parameters())
    held = {name: tuple(value.shape) for name, value in optimizer.state().items()}
    return outcome.resumed, outcome.notes, {name: one.detach().numpy() for name, one in weights.items()}, held


def whole(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, by kind and name."""
    kinds = ("weights", "optimizer", "retention", "random")
    return {f"{kind} {name}": value for kind in kinds for name, value in checkpoint.tensors(folder, kind).items()}


def test_a_checkpoint_in_parts_is_read_by_any_number(leg: Leg, make_tiny: MakeTiny, together: Together) -> None:
    """Three processes, of which the last has fewer rows, then two, then one alone; and the format of one by two."""
    three = together(3, fit, make_tiny("llama"), leg, True, 2)
    assert [found[0] for found in three] == [None] * 3
    folder = leg.folder / "checkpoint-2"
    kinds = {name: parts.kind_of(name) for name in json.loads((folder / "complete.json").read_text())["sha256"]}
    assert set(kinds) == {file.name for file in folder.iterdir()} - {"complete.json"}
    assert sorted(kinds.values()) == ["optimizer"] * 3 + ["random"] + ["retention"] * 3 + ["weights"] * 3
    with safe_open(folder / parts.name_of("weights", 1, 3), "pt") as opened:
        assert opened.get_slice("lm_head.weight").get_shape() == [134, 32]
    own = sum((folder / parts.name_of(kind, 1, 3)).stat().st_size for kind in ("weights", "optimizer"))
    every = sum(value.numel() for name, value in whole(folder).items() if name.startswith("weights"))
    assert copied(every, 3) < own < 1.2 * copied(every, 3)  # and the headers
    found = whole(folder)
    assert found["weights lm_head.weight"].shape == found["optimizer exp_avg.lm_head.weight"].shape == (400, 32)
    assert found["retention ema/lm_head.weight"].shape == (400, 32)

    for resumed, _, _, held in together(2, fit, make_tiny("llama"), leg, True, 2):
        assert resumed == 2
        assert held["exp_avg.lm_head.weight"] == (200, 32)
    resumed, _, alone, _ = fit(make_tiny("llama"), leg, False, 1)
    assert resumed == 4
    assert (leg.folder / "checkpoint-5" / "weights.safetensors").is_file()  # one process writes as ever
    for resumed, _, weights, _ in together(2, fit, make_tiny("llama"), leg):
        assert resumed == 5
        assert weights.keys() == alone.keys()
    wanted = fit(make_tiny("llama"), dataclasses.replace(leg, folder=leg.folder.with_name("one")), False)[2]
    for name, value in wanted.items():
        assert abs(weights[name] - value).max() <= 1e-5, name


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_torch_reads_what_is_written(leg: Leg, make_tiny: MakeTiny, together: Together) -> None:
    """`torch.distributed.checkpoint` puts every tensor of the folder together as rewarm does."""
    together(3, fit, make_tiny("llama-tied"), leg, True, 2)
    folder = leg.folder / "checkpoint-2"
    wanted = {key.partition(" ")[2]: value for key, value in whole(folder).items()}
    found: dict[str, Any] = {name: torch.zeros_like(value) for name, value in wanted.items()}
    dcp.load(found, storage_reader=dcp.HuggingFaceStorageReader(str(folder)), no_dist=True)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_all_fall_back_to_the_same_good_one(leg: Leg, make_tiny: MakeTiny, together: Together) -> None:
    together(2, fit, make_tiny("llama"), leg, True, 4)
    file = leg.folder / "checkpoint-4" / parts.name_of("optimizer", 1, 2)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    (leg.folder / "partial-checkpoint-5").mkdir()
    assert checkpoint.damage(file.parent) == [file.name]
    first, second = together(2, fit, make_tiny("llama"), leg)
    assert [first[0], second[0]] == [2, 2]
    assert first[1] == [f"{file.parent}: {file.name} damaged; passed over"]
    assert checkpoint.steps_saved(leg.folder) == [2, 4, 6]
    assert not (leg.folder / "partial-checkpoint-5").exists()


def _refused(model: Any, leg: Leg) -> tuple[Any, ...]:
    """The second process finds no place for its part of the second checkpoint."""

    def before(done: int) -> None:
        if done == 3 and world.current().rank == 1:
            parts.save = full  # type: ignore[assignment]

    return fit(model, leg, True, None, before)


def full(*given: Any) -> str:
    raise OSError(28, os.strerror(28))


def test_a_disk_that_is_full_for_one_process_stops_all(leg: Leg, make_tiny: MakeTiny, together: Together) -> None:
    first, second = together(2, _refused, make_tiny("llama"), leg)
    assert isinstance(first, StorageError), first
    assert str(first).startswith("process 1 of 2: checkpoint at step 4 could not be written")
    assert "No space left" in str(first)
    assert isinstance(second, world.Ended)
    assert [entry.name for entry in leg.folder.glob("*checkpoint*")] == ["checkpoint-2"]
    assert checkpoint.damage(leg.folder / "checkpoint-2") == []
    assert [found[0] for found in together(2, fit, make_tiny("llama"), leg)] == [2, 2]


def _gone(model: Any, leg: Leg) -> tuple[Any, ...]:
    """The second process dies without a word when it is to write its part of the second checkpoint."""

    def before(done: int) -> None:
        if done == 3 and world.current().rank == 1:
            parts.save = lambda *given: os._exit(9)  # type: ignore[assignment]

    return fit(model, leg, True, None, before)


def test_a_process_that_dies_in_a_save_leaves_the_one_before(leg: Leg, make_tiny: MakeTiny, together: Together) -> None:
    first, second = together(2, _gone, make_tiny("llama"), leg)
    assert isinstance(first, RuntimeError)
    assert second is None
    assert checkpoint.steps_saved(leg.folder) == [2]
    assert (leg.folder / "partial-checkpoint-4").is_dir()
    assert [found[0] for found in together(2, fit, make_tiny("llama"), leg)] == [2, 2]


def test_rows_that_lie_nowhere_are_an_error(tmp_path: Path) -> None:
    files = [tmp_path / parts.name_of("weights", rank, 3) for rank in range(3)]
    for rank, file in enumerate(files):
        parts.save(file, {"weight": torch.full((2, 3), float(rank)), "scale": torch.tensor(1.0)}, {"weight": 2 * rank})
    found = parts.read(files, lambda name, shape: (1, 5) if shape == (6, 3) else None)
    assert found["weight"][:, 0].tolist() == [0, 1, 1, 2]
    assert float(found["scale"]) == 1
    assert parts.read(files, lambda name, shape: (6, 6))["weight"].shape == (0, 3)
    with pytest.raises(ValueError, match="rows 2 to 4 of 'weight' lie in no file"):
        parts.read([files[0], files[2]])
