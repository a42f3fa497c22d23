"""The loop: the applied rate is the schedule's, a fault stops before the update, a resumed journal is the unbroken one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.schedules.cosine import Cosine
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.training import journal
from rewarm.training.loop import Leg, NonFinite, train
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import StreamState

STEPS = 12
MakeTiny = Callable[..., Any]


@pytest.fixture
def leg(tmp_path: Path) -> Leg:
    """Twelve steps of four rows of 16 tokens."""
    source = np.random.default_rng(0)
    ids: list[Any] = [source.integers(3, 400, length).astype(np.uint16) for length in source.integers(5, 40, 60)]
    with StoreWriter(tmp_path / "store", np.dtype(np.uint16)) as writer:
        writer.add(ids, [len(document) for document in ids], range(60), range(60))
    stream = DocumentStream(Store(tmp_path / "store"), np.arange(60), 0, "corpus")
    rows = StageRows([Source("corpus", stream)], np.zeros((STEPS, 4), np.uint8), 16, 2)
    return Leg(
        name="leg", folder=tmp_path / "leg", rows=rows, schedule=Cosine(warmup=0.25), peak=1e-3, past=StreamState(),
        key="key", precision=torch.float32, log_every=5, save_steps=3,
    )  # fmt: skip


def fit(model: Any, leg: Leg, stop_after: int | None = None) -> None:
    """Trains; asks to stop after that many steps of this call."""
    done = 0

    def stop() -> bool:
        nonlocal done
        done += 1
        return done == stop_after

    optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    train(model, optimizer, leg, [], stop, lambda step, entry: None)


def test_the_journal_holds_the_schedules_rates(leg: Leg, make_tiny: MakeTiny) -> None:
    fit(make_tiny("llama"), leg)
    entries = journal.read(leg.folder / "journal.jsonl")
    assert [entry["step"] for entry in entries] == [1, 2, 3, 5, 10, 12]
    for entry in entries:
        assert entry["rate"] == Cosine(warmup=0.25).rate(entry["step"] - 1, STEPS, 1e-3, StreamState())
    assert entries[0]["rate"] == pytest.approx(1e-3 / 3)
    assert entries[-1]["rate"] == pytest.approx(1e-4)


def test_a_resumed_journal_and_its_weights_equal_the_unbroken_ones(leg: Leg, make_tiny: MakeTiny, tmp_path: Path) -> None:
    import dataclasses

    whole = make_tiny("gpt2")
    whole.config.attn_pdrop = whole.config.resid_pdrop = 0.1
    for module in whole.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    torch.manual_seed(5)
    fit(whole, leg)
    broken_leg = dataclasses.replace(leg, folder=tmp_path / "broken")
    torch.manual_seed(5)
    for stop_after in (2, 5, 1, None):
        broken = make_tiny("gpt2", 9 if stop_after != 2 else 0)  # other weights: a resumed run must restore its own
        for module in broken.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
        if stop_after == 2:
            torch.manual_seed(5)
        fit(broken, broken_leg, stop_after)
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, dict(broken.named_parameters())[name]), name
    plain = [
        [{key: entry[key] for key in ("step", "tokens", "loss", "rate", "norm")} for entry in journal.read(file / "journal.jsonl")]
        for file in (leg.folder, broken_leg.folder)
    ]
    assert plain[0] == plain[1]


def test_the_lie_detector_fires_when_another_rate_trains(
    leg: Leg, make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Optimizer.step
    monkeypatch.setattr(Optimizer, "step", lambda self, rate: honest(self, rate * 1.01))
    with pytest.raises(RuntimeError, match="was to be made at learning rate"):
        fit(make_tiny("llama"), leg)


def test_a_loss_that_is_no_number_stops_before_the_update(leg: Leg, make_tiny: MakeTiny) -> None:
    model = make_tiny("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with pytest.raises(NonFinite, match="step 0 has loss nan"):
        fit(model, leg)
    assert all(torch.equal(before[name], own) or "down_proj" in name for name, own in model.named_parameters())


def test_stopping_saves_and_says_so(leg: Leg, make_tiny: MakeTiny) -> None:
    model = make_tiny("llama")
    optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    outcome = train(model, optimizer, leg, [], lambda: True, lambda step, entry: None)
    assert outcome.stopped
    assert outcome.steps == 1
    assert (leg.folder / "checkpoint-1" / "complete.json").is_file()
