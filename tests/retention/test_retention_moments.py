"""Moments: what is measured, by hand; what the optimizer does with it; what matters for the old text moves less."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.objectives.packed_loss import PackedLoss
from rewarm.retention.moments import Moments
from rewarm.training import journal
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.loop import train
from rewarm.training.optimizer import AdamWOptions, Optimizer

Make = Callable[..., Any]
OPTIONS = AdamWOptions(0.0, (0.9, 0.95), 1e-8, 1e9)


def test_the_squares_are_those_of_whole_steps(make_tiny: Make, make_scene: Make) -> None:
    """Two steps of three rows: the gradient of each step's mean loss, squared, and the mean of both."""
    model = make_tiny("llama-tied")
    scene = make_scene(model, rows_per_step=3)
    found = Moments(batches=2).measure(scene)
    rows = list(scene.rows("old", 6))
    objective, expected = PackedLoss(model), {name: torch.zeros_like(one) for name, one in model.named_parameters()}
    for step in (rows[:3], rows[3:]):
        model.zero_grad()
        loss = sum(objective.loss_sum(row, 1.0) for row in step) / sum(row.num_targets for row in step)
        loss.backward()
        for name, parameter in model.named_parameters():
            expected[name] += parameter.grad.square() / 2
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-12) for name in expected)


def test_the_first_update_is_by_the_known_moments(make_tiny: Make) -> None:
    model = make_tiny("llama")
    optimizer, slopes = Optimizer(model, OPTIONS), {}
    known = {name: torch.rand_like(one) + 0.1 for name, one in model.named_parameters()}
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    for name, parameter in model.named_parameters():
        slopes[name] = parameter.grad = torch.randn_like(parameter)
    slopes = {name: one.clone() for name, one in slopes.items()}
    optimizer.begin(known)
    probe = optimizer.probe()
    optimizer.step(1e-2)
    assert probe.measured() == pytest.approx(1e-2, rel=1e-3)
    for name, parameter in model.named_parameters():
        second = 0.95 * known[name] + 0.05 * slopes[name].square()
        moved = 1e-2 * 0.1 * slopes[name] / second.sqrt()
        assert torch.allclose(before[name] - parameter.detach(), moved, rtol=2e-3, atol=1e-6)


def test_first_moments_that_were_kept_stay(make_tiny: Make) -> None:
    model = make_tiny("llama")
    optimizer = Optimizer(model, OPTIONS)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1e-3)
    optimizer.begin({name: torch.full_like(one, 4.0) for name, one in model.named_parameters()})
    state = optimizer.state()
    for name, _ in model.named_parameters():
        assert state[f"exp_avg.{name}"].max() == pytest.approx(0.1)
        assert state[f"exp_avg_sq.{name}"].min() == 4.0


def test_what_matters_for_the_old_text_moves_less(leg: Leg, make_tiny: Make, make_scene: Make) -> None:
    """Of each parameter, the tenth with the largest moments against the half with the smallest ones, beside Adam that
    begins at zero, and the control, which knows nothing of which is which."""

    def ratio(method: Moments | None) -> float:
        model = make_tiny("llama")
        scene = make_scene(model, rows_per_step=4)
        measured = Moments().measure(scene)
        keepers = Keepers({} if method is None else {"moments": method.keeper(scene, dict(measured))})
        before = {name: one.detach().clone() for name, one in model.named_parameters()}
        short = dataclasses.replace(leg, rows=dataclasses.replace(leg.rows, source_SR=leg.rows.source_SR[:4]))
        folder = leg.folder.with_name("none" if method is None else method.importance)
        optimizer = Optimizer(model, OPTIONS)
        train(
            model, optimizer, dataclasses.replace(short, folder=folder), [], lambda: False, lambda *told: None, keepers
        )
        important, others = [], []
        for name, parameter in model.named_parameters():
            moved, value = (parameter.detach() - before[name]).abs().flatten(), measured[name].flatten()
            important.append(moved[value > value.quantile(0.9)])
            others.append(moved[value <= value.quantile(0.5)])
        return float(torch.cat(important).mean() / torch.cat(others).mean())

    plain, held, shuffled = (ratio(one) for one in (None, Moments(), Moments(importance="shuffled")))
    assert held < 0.5 * plain
    assert held < 0.5 * shuffled


def test_a_floor_lifts_what_the_old_text_does_not_touch(make_tiny: Make, make_scene: Make) -> None:
    scene = make_scene(make_tiny("llama"))
    measured = Moments(batches=1).measure(scene)
    lowest = {name: float(value.min()) for name, value in measured.items()}
    mean = {name: float(value.mean()) for name, value in measured.items()}
    keeper = Moments(batches=1, floor=0.5).keeper(scene, measured)
    values = keeper.moments()
    assert keeper.moments() == {}  # they are given away once
    for name, value in values.items():
        assert float(value.min()) == pytest.approx(max(lowest[name], 0.5 * mean[name]), rel=1e-5)


def test_the_journal_says_how_much_is_reached(leg: Leg, make_tiny: Make, fit: Make) -> None:
    """Rows of tokens that the old text does not have begin at zero: less than all is reached."""
    fit(make_tiny("llama"), Moments(batches=1))
    reached = journal.read(leg.folder / "journal.jsonl")[-1]["retention"]["moments"]["reached"]
    assert 0.3 < reached < 1
