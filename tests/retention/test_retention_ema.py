"""The average of the weights, worked out by hand, and that training itself does not see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rewarm.retention.ema import Average, Ema
from rewarm.training.leg import Leg
from rewarm.types import UserError

Make = Callable[..., Any]


def ended(method: Ema, steps: int, make_scene: Make) -> float:
    """What a weight of 0, to which each update adds 1, is at the end of a stage."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    keeper = method.keeper(make_scene(model, steps=steps), {})
    for step in range(steps):
        with torch.no_grad():
            model.weight.add_(1)
        keeper.update(step, rate=1e-3)
    keeper.finish()
    return float(model.weight.detach())


def test_by_hand(make_scene: Make) -> None:
    """Decay 3/4. From 0: 0.25, then 0.25 + (2 - 0.25) / 4. Averaged from 2 on: 2 + 1/4, then 2.25 + (4 - 2.25) / 4."""
    assert ended(Ema(horizon=4), 2, make_scene) == 0.6875
    assert ended(Ema(horizon=4, start=0.5), 4, make_scene) == 2.6875


def test_a_horizon_may_be_a_share_of_the_stage(make_scene: Make) -> None:
    keeper = Ema(horizon="50%", start=0.25).keeper(make_scene(nn.Linear(1, 1), steps=8), {})  # type: ignore[arg-type]
    assert isinstance(keeper, Average)
    assert (keeper.decay, keeper.first) == (0.75, 2)


def test_a_share_that_is_no_step_is_refused(make_scene: Make) -> None:
    with pytest.raises(UserError, match=r"a horizon of 10% of 10 steps is 1 steps, so the average would be the last"):
        Ema().keeper(make_scene(nn.Linear(1, 1), steps=10), {})


def test_the_average_is_state(make_scene: Make) -> None:
    """Also that of a stage resumed before averaging begins."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    method, scene = Ema(horizon=2, start=0.5), make_scene(model, steps=4)
    keeper = method.keeper(scene, {})
    nn.init.constant_(model.weight, 5.0)
    again = method.keeper(scene, {})
    again.load(keeper.state())
    assert float(again.state()["weight"]) == 1.0
    assert again.readings() == {"distance": 4.0}
    for step, average in ((0, 1.0), (1, 5.0)):
        again.update(step, rate=1e-3)
        assert float(again.state()["weight"]) == average


def test_training_does_not_see_it(leg: Leg, make_tiny: Make, fit: Make) -> None:
    """The last checkpoint holds the weights of plain training; the model that comes out is another."""
    plain, held = make_tiny("llama-tied"), make_tiny("llama-tied")
    fit(plain, None)
    other = dataclasses.replace(leg, folder=leg.folder.with_name("held"))
    fit(held, Ema(horizon=4), other)
    saved = load_file(other.folder / "checkpoint-12" / "weights.safetensors")
    averages = load_file(other.folder / "checkpoint-12" / "retention.safetensors")
    for (name, last), (_, ended) in zip(plain.named_parameters(), held.named_parameters(), strict=True):
        assert torch.equal(saved[name], last), name
        assert torch.equal(averages[f"ema/{name}"], ended), name
        assert not torch.equal(last, ended), name
