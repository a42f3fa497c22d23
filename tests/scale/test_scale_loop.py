"""Several processes train what one trains, to rounding: weights, losses, retention, adapters, and after a resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rewarm.adapters.lora import Lora
from rewarm.retention import Retention, Scene
from rewarm.retention.ema import Ema
from rewarm.retention.ewc import EWC
from rewarm.retention.freeze import Freeze
from rewarm.retention.l2_sp import L2SP
from rewarm.retention.recadam import RecAdam
from rewarm.schedules.cosine import Cosine
from rewarm.training import journal, sharding, world
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.loop import train
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import StreamState, UserError

STEPS = 20
OPTIONS = AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0)
CLOSE = 1e-5
MakeTiny = Callable[..., Any]
Together = Callable[..., list[Any]]
Trained = tuple[dict[str, Tensor], list[dict[str, Any]]]


@pytest.fixture
def leg(tmp_path: Path, stage_rows: Callable[..., Any]) -> Leg:
    """Twenty steps of five rows of 16 tokens, a row a pass: they divide evenly by no number of processes."""
    rows = stage_rows(STEPS, 5, 1)
    return Leg(
        name="leg", folder=tmp_path / "leg", rows=rows, schedule=Cosine(warmup=0.25), peak=1e-3, past=StreamState(),
        key="key", precision=torch.float32, seed=3, log_every=1, save_steps=5,
    )  # fmt: skip


def fit(
    model: Any, leg: Leg, sharded: bool = False, retention: Retention | None = None, stop_at: int | None = None
) -> Trained:
    """What one process does: trains, asks to stop when `stop_at` steps are done. Whole weights, and the journal."""
    alone, done = world.current(), 0
    keepers = Keepers({})
    if retention is not None:
        rows = [leg.rows.batches(0)[0]]
        scene = Scene(model, lambda text, count: iter(rows), lambda: model, leg.folder, 0, torch.float32, STEPS)
        retention.select(model)
        keepers = Keepers({"method": retention.keeper(scene, retention.measure(scene))})
    spread = sharding.Shards(model, alone) if sharded else None
    if spread is not None:
        sharding.divide(keepers, spread)
    optimizer = Optimizer(spread or model, OPTIONS)

    def stop() -> bool:
        nonlocal done
        done += 1
        return done == stop_at and alone.rank == alone.size - 1  # whichever process is asked

    train(model, optimizer, dataclasses.replace(leg, spread=spread), [], stop, lambda step, entry: None, keepers)
    keepers.finish()
    weights = {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}
    found = spread.weights() if spread is not None else weights
    return {name: value.numpy() for name, value in found.items()}, journal.read(leg.folder / "journal.jsonl")  # type: ignore[misc]


def same(found: Any, wanted: Trained) -> None:
    assert not isinstance(found, Exception), found
    assert found[0].keys() == wanted[0].keys()
    for name, value in wanted[0].items():
        assert np.abs(np.asarray(found[0][name]) - np.asarray(value)).max() <= CLOSE, name
    for key in ("step", "loss", "norm", "rate", "tokens"):
        assert [entry[key] for entry in found[1]] == pytest.approx([entry[key] for entry in wanted[1]], abs=CLOSE), key
    for mine, others in zip(found[1], wanted[1], strict=True):
        assert mine.get("retention", {}).get("method", {}) == pytest.approx(
            others.get("retention", {}).get("method", {}), abs=CLOSE
        )


def own(leg: Leg, name: str) -> Leg:
    return dataclasses.replace(leg, folder=leg.folder.with_name(name))


@pytest.mark.parametrize("name", ["llama", "llama-tied"])
def test_several_processes_equal_one(leg: Leg, make_tiny: MakeTiny, together: Together, name: str) -> None:
    wanted = fit(make_tiny(name), own(leg, "one"))
    for size, sharded in ((2, name == "llama-tied"), (4, name == "llama")):
        for found in together(size, fit, make_tiny(name), own(leg, f"{size}"), sharded):
            same(found, wanted)


def test_a_leg_goes_on_with_other_numbers_of_processes(leg: Leg, make_tiny: MakeTiny, together: Together) -> None:
    """Two whole, four in parts, one alone; a stop asked of one process stops all at the same step, saved."""
    wanted = fit(make_tiny("llama"), own(leg, "one"))
    broken = own(leg, "broken")
    for found in together(2, fit, make_tiny("llama"), broken, False, None, 7):
        assert [entry["step"] for entry in found[1]] == list(range(1, 8))
    assert (broken.folder / "checkpoint-7").is_dir()
    for found in together(4, fit, make_tiny("llama"), broken, True, None, 6):
        assert [entry["step"] for entry in found[1]] == list(range(1, 14))
    same(fit(make_tiny("llama"), broken), wanted)


@pytest.mark.parametrize(
    "method",
    [L2SP(strength=1.0), EWC(rows=1), RecAdam(center=6, width=2), Ema(horizon=4, start=0.25), Freeze()],
    ids=lambda method: str(method.method_name()),
)
def test_retention_in_parts_is_that_of_the_whole(
    leg: Leg, make_tiny: MakeTiny, together: Together, method: Retention
) -> None:
    assert type(method).several
    short = dataclasses.replace(leg, rows=dataclasses.replace(leg.rows, source_SR=np.zeros((6, 5), np.uint8)))
    wanted = fit(make_tiny("llama"), own(short, "one"), False, method)
    for found in together(2, fit, make_tiny("llama"), own(short, "parts"), True, method):
        same(found, wanted)


def test_adapters_in_parts_are_those_of_the_whole(leg: Leg, make_tiny: MakeTiny, together: Together) -> None:
    models = [make_tiny("llama") for _ in range(2)]
    for model in models:
        Lora().attach(model, 0)
    wanted = fit(models[0], own(leg, "one"))
    for found in together(2, fit, models[1], own(leg, "parts"), True):
        same(found, wanted)


def _fails_in_the_last(message: str) -> None:
    here = world.current()
    if here.rank == here.size - 1:
        raise UserError(message)
    here.any(False)


def test_an_error_of_one_process_is_told_by_the_first(together: Together) -> None:
    first, second = together(2, _fails_in_the_last, "no such thing")
    assert isinstance(first, UserError)
    assert str(first) == "process 1 of 2: no such thing"
    assert isinstance(second, world.Ended)
    assert second.code == 1


def test_words_reach_every_process(together: Together) -> None:
    assert together(2, _agree) == [("näh", 3.0, True), ("näh", 3.0, True)]


def _agree() -> tuple[str, float, bool]:
    here = world.current()
    return (
        here.agreed(lambda: "näh" if here.is_first else "other"),
        here.total_of(1.0 + here.rank),
        here.any(here.is_first),
    )


def test_bf16_with_layers_computed_twice_in_parts_is_that_of_the_whole(
    leg: Leg, make_tiny: MakeTiny, together: Together
) -> None:
    short = dataclasses.replace(leg, rows=dataclasses.replace(leg.rows, source_SR=np.zeros((6, 5), np.uint8)))
    short = dataclasses.replace(short, precision=torch.bfloat16, checkpointed=True)
    wanted = fit(make_tiny("llama"), own(short, "one"))
    for found in together(2, fit, make_tiny("llama"), own(short, "parts"), True):
        same(found, wanted)
