"""What each leg of a plan trains, seen without weights: through every adapter, as the run itself goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedModel

from rewarm.plan import from_values
from rewarm.river.forecast import forecast
from rewarm.river.legs import legs
from rewarm.river.shapes import shapes
from rewarm.types import UserError

ScratchPlan = Callable[..., dict[str, Any]]


@pytest.fixture
def walked(scratch_plan: ScratchPlan, make_tiny: Callable[..., Any]) -> Callable[..., list[tuple[int, int]]]:
    """A function: options of each stage -> layers of the model that each leg trains, and its tensors that train."""

    def walk(*stages: dict[str, Any]) -> list[tuple[int, int]]:
        values = scratch_plan()
        stage = values["stages"][0]
        values["stages"] = [{**stage, "name": f"s{number}", **own} for number, own in enumerate(stages)]
        planned = legs(from_values(values), lambda name: 1_000_000)
        base: PreTrainedModel = make_tiny("llama").to("meta")
        found = []
        for _, model in shapes(base, planned):
            assert model.device.type == "meta"
            trained = sum(parameter.requires_grad for parameter in model.parameters())
            found.append((int(model.config.num_hidden_layers), trained))
            model.requires_grad_(False)  # as a leg's retention may do, which is no business of the next one
        return found

    return walk


def test_each_leg_trains_what_its_adapter_adds_and_a_merged_one_is_gone(walked: Callable[..., Any]) -> None:
    """The tiny Llama has two layers of nine tensors, seven of them matrices, and three tensors around them."""
    whole = 2 * 9 + 3
    assert walked({}, {"adapter": "lora"}, {"adapter": "lora"}, {}) == [(2, whole), (2, 28), (2, 28), (2, whole)]


def test_an_expansion_that_serves_the_run_grows_the_model_once(walked: Callable[..., Any]) -> None:
    grown = {"adapter": {"type": "block-expansion", "blocks": 1}}
    anew = {"adapter": {"type": "block-expansion", "blocks": 1, "one_for": "stage"}}
    assert walked(grown, grown, {}) == [(3, 9), (3, 9), (3, 3 * 9 + 3)]
    assert walked(anew, anew) == [(3, 9), (4, 9)]


@pytest.mark.parametrize("adapter", ["k-adapter", "modular"])
def test_an_adapter_beside_the_weights_stays(walked: Callable[..., Any], adapter: str) -> None:
    (_, first), (_, after) = walked({"adapter": adapter}, {})
    assert after == 2 * 9 + 3 + first
    with pytest.raises(UserError, match=r"stage-2-s1: block-expansion: the model has another adapter.*before the one"):
        walked({"adapter": adapter}, {"adapter": "block-expansion"})


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        ({"type": "lora", "r": 33}, r"stage-1-update: lora: r 33 is more than the model's width 32. Give 32 or less"),
        ({"type": "lora", "targets": ["q_prj"]}, r"is called 'q_prj'. Did you mean 'q_proj'"),
        ({"type": "block-expansion", "blocks": 3}, r"blocks 3 are more than the model's 2 layers. Give 2 or fewer"),
        ({"type": "k-adapter", "layers": [3]}, r"blocks at layers 3 cannot be had in a model of 2"),
    ],
)
def test_what_cannot_be_attached_is_told_before_any_work(
    scratch_plan: ScratchPlan, adapter: dict[str, Any], reason: str
) -> None:
    values = scratch_plan()
    values["stages"][0]["adapter"] = adapter
    with pytest.raises(UserError, match=reason):
        forecast(from_values(values))
