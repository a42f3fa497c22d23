"""What is skipped, what is not, and that a leg with skipped updates resumes to the same end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rewarm.models.load import weights_hash
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.schedules.cosine import Cosine
from rewarm.stages import Spikes
from rewarm.training import journal
from rewarm.training.guard import Guard, NonFinite
from rewarm.training.leg import Leg
from rewarm.training.loop import Outcome, train
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import Batch, StreamState

STEPS = 16
FEW = Spikes(sigma=6, window=8, most=2)


def values(*numbers: float) -> list[Tensor]:
    return [torch.tensor(number, dtype=torch.float64) for number in numbers]


def watched(policy: Spikes | None, losses: Sequence[float], norms: dict[int, float] | None = None) -> list[int]:
    """The steps whose updates are left out."""
    guard, found = Guard("leg", torch.device("cpu"), policy), []
    for step, loss in enumerate(losses):
        guard.watch(step, *values(loss, (norms or {}).get(step, 1.0)))
        found += [step] if float(guard.skip) else []
    assert [step for step, _, _ in guard.skipped()] == found
    return found


def test_a_spike_is_what_lies_six_deviations_above_the_last_steps() -> None:
    """Losses 1 and 3 in turn: mean 2, deviation 1."""
    calm = [1.0, 3.0] * 4
    assert watched(FEW, [*calm, 7.9]) == []
    assert watched(FEW, [*calm, 8.1]) == [8]
    assert watched(FEW, [*calm[:7], 99.0]) == []  # the window is not full
    assert watched(FEW, [*calm, -50.0]) == []
    # What was skipped is no part of the window, so that the next spike is one, too.
    assert watched(FEW, [*calm, 8.1, 8.1]) == [8, 9]
    # The window moves on: after eight steps at 5 a loss of 8 is far, and 5 is not.
    assert watched(FEW, [*calm, *[5.0] * 8, 5.0, 8.0]) == [17]


def test_what_is_not_finite_is_skipped_from_the_first_step_on() -> None:
    assert watched(FEW, [math.nan, 1.0, math.inf]) == [0, 2]
    assert watched(FEW, [1.0, 1.0, 1.0], {1: math.nan}) == [1]


def test_too_many_stop_and_name_the_first_that_is_too_many() -> None:
    guard = Guard("leg", torch.device("cpu"), FEW, lambda step: f"document {step}")
    for step in (0, 1):
        guard.watch(step, *values(math.nan, 1.0))
    with pytest.raises(NonFinite, match=r"leg: step 2 has loss nan .* learn from document 2\. 2 steps before it"):
        guard.watch(2, *values(math.nan, 1.0))
    with pytest.raises(NonFinite, match="step 2 has"):
        guard.watch(3, *values(1.0, 1.0))
    assert float(guard.skip) == 1.0


def test_without_a_policy_a_spike_is_a_step_like_any() -> None:
    assert watched(None, [1.0] * 20 + [1e9]) == []


class Spiking(PackedLoss):
    """Batches whose first token is one of these have a loss that is no number."""

    bad: frozenset[int] = frozenset()

    def loss_sum(self, batch: Batch, scale: float = 1.0, terms: Any = ()) -> Tensor:
        found = super().loss_sum(batch, scale, terms)
        return found * math.nan if _mark(batch) in self.bad else found


def _mark(batch: Batch) -> int:
    return hash(tuple(batch.tokens_BT.flatten().tolist()))


@pytest.fixture
def leg(tmp_path: Path, stage_rows: Callable[..., Any]) -> Leg:
    """Sixteen steps of four rows, of which the steps 4 and 9 have a bad batch."""
    rows = stage_rows(STEPS, 4, 2, 90)
    bad = frozenset(_mark(rows.batches(step)[0]) for step in (4, 9))
    spiking = type("Bad", (Spiking,), {"bad": bad})
    return Leg(
        name="leg", folder=tmp_path / "leg", rows=rows, schedule=Cosine(warmup=0.25), peak=1e-3, past=StreamState(),
        key="key", precision=torch.float32, seed=3, log_every=5, save_steps=3, skips=FEW, loss=spiking,
    )  # fmt: skip


def fit(model: Any, leg: Leg, stop_after: int = 0) -> Outcome:
    calls = iter(range(1, 1000))
    optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    return train(model, optimizer, leg, [], lambda: next(calls) == stop_after, lambda step, entry: None)


def test_a_leg_goes_on_without_the_updates_that_were_skipped(leg: Leg, make_tiny: Callable[..., Any]) -> None:
    model = make_tiny("llama")
    outcome = fit(model, leg)
    assert [step for step, _, _ in outcome.skipped] == [4, 9]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    entries = journal.read(leg.folder / "journal.jsonl")
    assert all(entry["loss"] is not None for entry in entries)  # the mean is over the others
    assert entries[-1]["step"] == STEPS


def test_a_skipped_update_changes_no_weight(leg: Leg, make_tiny: Callable[..., Any]) -> None:
    seen = []
    for steps in (4, 5):
        model = make_tiny("llama")
        short = dataclasses.replace(leg, folder=leg.folder.with_name(f"leg-{steps}"))
        fit(model, short, stop_after=steps)
        seen.append(weights_hash(model))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("stop_after", [3, 5, 10])
def test_a_resumed_leg_has_skipped_the_same(stop_after: int, leg: Leg, make_tiny: Callable[..., Any]) -> None:
    whole = make_tiny("llama")
    unbroken = fit(whole, leg)
    other = dataclasses.replace(leg, folder=leg.folder.with_name("other"))
    assert fit(make_tiny("llama"), other, stop_after).stopped
    again = make_tiny("llama")
    resumed = fit(again, other)
    assert [step for step, _, _ in resumed.skipped] == [step for step, _, _ in unbroken.skipped] == [4, 9]
    assert weights_hash(again) == weights_hash(whole)


def test_a_third_bad_step_stops_the_leg_with_its_documents(leg: Leg, make_tiny: Callable[..., Any]) -> None:
    with pytest.raises(NonFinite, match=r"step 9 has loss nan .* learn from documents \d+, .* of 'corpus'\. 1 steps"):
        fit(make_tiny("llama"), dataclasses.replace(leg, skips=Spikes(window=8, most=1)))
