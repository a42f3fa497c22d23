"""Reptile: interpolation every k steps, worked out by hand, and what it leaves alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rewarm.methods import build
from rewarm.retention import Keeper
from rewarm.retention.reptile import Interpolation, Reptile
from rewarm.training.leg import Leg
from rewarm.types import UserError

Make = Callable[..., Any]


@pytest.fixture
def weight() -> nn.Linear:
    """A model of one weight, which is 0."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


def walked(model: nn.Linear, keeper: Keeper, steps: range) -> list[float]:
    """The weight after each step, where each update adds 1."""
    found = []
    for step in steps:
        with torch.no_grad():
            model.weight.add_(1)
        keeper.update(step, rate=1e-3)
        found.append(float(model.weight.detach()))
    return found


def test_by_hand(weight: nn.Linear, make_scene: Make) -> None:
    """Half of the way from 0 to 2 is 1, and from there to 3 is 2; the last step alone ends at 2.5. Not at step 0."""
    keeper = Reptile(every=2, epsilon=0.5).keeper(make_scene(weight, steps=5), {})
    assert walked(weight, keeper, range(5)) == [1.0, 1.0, 2.0, 2.0, 3.0]
    assert keeper.readings() == {"distance": 1.0}
    keeper.finish()
    assert float(weight.weight.detach()) == 2.5


def test_a_whole_last_interval_is_not_interpolated_twice(weight: nn.Linear, make_scene: Make) -> None:
    keeper = Reptile(every=2, epsilon=0.5).keeper(make_scene(weight, steps=4), {})
    walked(weight, keeper, range(4))
    keeper.finish()
    assert float(weight.weight.detach()) == 2.0


def test_the_remembered_weights_are_state(weight: nn.Linear, make_scene: Make) -> None:
    keeper = Reptile(every=3, epsilon=0.5).keeper(make_scene(weight, steps=6), {})
    walked(weight, keeper, range(2))
    again = Reptile(every=3, epsilon=0.5).keeper(make_scene(weight, steps=6), {})
    again.load({name: value.clone() for name, value in keeper.state().items()})
    # From 0 to 3; a start remembered at 2 would end at 2.5.
    assert walked(weight, again, range(2, 3)) == [1.5]


def test_an_interval_may_be_a_share_of_the_stage(weight: nn.Linear, make_scene: Make) -> None:
    for every, steps, expected in (("10%", 200, 20), ("2%", 12, 1), (500, 12, 500)):
        keeper = Reptile(every=every).keeper(make_scene(weight, steps=steps), {})  # type: ignore[arg-type]
        assert isinstance(keeper, Interpolation)
        assert (keeper.every, keeper.epsilon) == (expected, 0.1)


@pytest.mark.parametrize("every", [12, 500])
def test_one_interval_is_a_share_of_the_way_and_leaves_adam_alone(
    every: int, leg: Leg, make_tiny: Make, fit: Make
) -> None:
    """As long as the stage or longer: the end lies a quarter of the way from the start to where plain training ends."""
    start, plain, held = (make_tiny("llama-tied") for _ in range(3))
    fit(plain, None)
    other = dataclasses.replace(leg, folder=leg.folder.with_name("held"))
    fit(held, Reptile(every=every, epsilon=0.25), other)
    goals = dict(plain.named_parameters())
    for (name, first), (_, last) in zip(start.named_parameters(), held.named_parameters(), strict=True):
        assert torch.equal(last, torch.lerp(first, goals[name], 0.25)), name
    moments = [load_file(one.folder / "checkpoint-12" / "optimizer.safetensors") for one in (leg, other)]
    assert all(torch.equal(value, moments[1][name]) for name, value in moments[0].items())


def test_only_what_trains_is_remembered(make_tiny: Make, make_scene: Make) -> None:
    model = make_tiny("llama").requires_grad_(False)
    model.lm_head.requires_grad_(True)
    keeper = Reptile().keeper(make_scene(model), {})
    assert list(keeper.state()) == ["lm_head.weight"]
    assert keeper.reached == 1.0


@pytest.mark.parametrize("options", [{"epsilon": 0}, {"epsilon": 1.5}, {"every": "100%"}, {"every": 0}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        build("retention", {"type": "reptile", **options})
