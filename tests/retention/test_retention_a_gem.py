"""A-GEM: the projection by hand, the reference gradient, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rewarm.methods import build
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.retention import Keeper
from rewarm.retention.a_gem import AGEM, Projection
from rewarm.types import Batch, UserError

Make = Callable[..., Any]


def projection(made: Keeper) -> Projection:
    assert isinstance(made, Projection)
    return made


@pytest.fixture
def keeper(make_tiny: Make, make_scene: Make) -> Projection:
    """The keeper of a tiny model, of which only two vectors of two values train."""
    keeper = projection(AGEM(rows=2, memory=4).keeper(make_scene(make_tiny("llama")), {}))
    keeper.parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    return keeper


def projected(keeper: Projection, own: list[list[float]], reference: list[Tensor | None]) -> list[list[float]]:
    for parameter, values in zip(keeper.parameters, own, strict=True):
        parameter.grad = torch.tensor(values)
    keeper.project(reference)
    return [parameter.grad.tolist() for parameter in keeper.parameters if parameter.grad is not None]


def test_by_hand(keeper: Projection) -> None:
    """g = (1, -3, 0, 2), r = (0, 2, 1, 1): g.r = -4, r.r = 6, so that g gains 2/3 r. One vector, not one per tensor."""
    reference = [torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0])]
    found = projected(keeper, [[1.0, -3.0], [0.0, 2.0]], [*reference])
    assert found[0] == pytest.approx([1.0, -3 + 4 / 3])
    assert found[1] == pytest.approx([2 / 3, 2 + 2 / 3])
    assert keeper.readings() == {"projected": 1.0, "cosine": pytest.approx(-4 / (14 * 6) ** 0.5)}


def test_gradients_that_agree_are_left_bit_equal(keeper: Projection) -> None:
    """g.r = 3 > 0, though it is -6 in the first tensor alone."""
    own = [[0.1, -3.3], [0.3, 9.0]]
    reference: list[Tensor | None] = [torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0])]
    assert projected(keeper, own, reference) == [torch.tensor(values).tolist() for values in own]
    assert keeper.readings()["projected"] == 0.0


def test_a_parameter_without_a_gradient(keeper: Projection) -> None:
    """g = (-1, 0 | none), r = (1, 0 | 0, 1): g.r = -1, r.r = 2; a missing part counts as zero on either side."""
    keeper.parameters[0].grad = torch.tensor([-1.0, 0.0])
    keeper.project([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])])
    assert [parameter.grad.tolist() for parameter in keeper.parameters if parameter.grad is not None] == [
        [-0.5, 0.0], [0.0, 0.5],
    ]  # fmt: skip
    assert projected(keeper, [[-1.0, 0.0], [4.0, 4.0]], [torch.tensor([2.0, 0.0]), None]) == [[0.0, 0.0], [4.0, 4.0]]
    assert projected(keeper, [[-1.0, 0.0], [4.0, 4.0]], [None, None]) == [[-1.0, 0.0], [4.0, 4.0]]
    assert keeper.readings() == {"projected": 2 / 3, "cosine": 0.0}


@pytest.mark.parametrize("kind", ["llama-tied", "gpt2"])
def test_on_a_model_the_step_no_longer_points_against_the_old(kind: str, make_tiny: Make, make_scene: Make) -> None:
    """The step's gradient is made to oppose the reference. The mode and random numbers stay (gpt2 has dropout)."""
    model = make_tiny(kind).train()
    keeper = projection(AGEM(rows=4, memory=8).keeper(make_scene(model, kind), {}))
    reference = keeper.reference(0)
    source = torch.Generator().manual_seed(0)
    before = []
    for parameter, slope in zip(keeper.parameters, reference, strict=True):
        assert slope is not None
        parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=source) - slope
        before.append(parameter.grad.clone())
    random = torch.get_rng_state()
    keeper.gradients(0)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    pairs = [(parameter.grad, slope) for parameter, slope in zip(keeper.parameters, reference, strict=True)]
    assert sum(float((grad * slope).sum()) for grad, slope in pairs) >= -1e-6  # type: ignore[operator]
    left = sum(float((grad**2).sum()) for grad, _ in pairs)  # type: ignore[operator]
    assert 0 < left < sum(float((grad**2).sum()) for grad in before)
    assert keeper.readings()["projected"] == 1.0


def test_the_reference_is_the_gradient_of_the_mean_loss_of_rows_in_turn(
    make_tiny: Make, make_scene: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five rows kept, three a step: the second comparison, at step 2, takes rows 3, 4 and 0, in two passes."""
    model = make_tiny("llama")
    scene = make_scene(model)
    monkeypatch.setattr("rewarm.retention.fisher.PASS_TOKENS", 32)
    keeper = projection(AGEM(rows=3, memory=5, every=2).keeper(scene, {}))
    memory = list(scene.rows("old", 5))
    chosen: list[Batch] = [memory[3], memory[4], memory[0]]
    loss, objective = torch.zeros(()), PackedLoss(model)
    for row in chosen:
        loss = loss + objective.loss_sum(row, 1 / sum(row.num_targets for row in chosen))
    expected = torch.autograd.grad(loss, list(model.parameters()))
    for found, wanted in zip(keeper.reference(2), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


def test_it_compares_every_so_many_steps_and_goes_on_counting(make_tiny: Make, make_scene: Make) -> None:
    model = make_tiny("llama")
    method = AGEM(rows=1, memory=2, every=3)
    keeper = projection(method.keeper(make_scene(model), {}))
    for step in range(7):
        for parameter, slope in zip(keeper.parameters, keeper.reference(step), strict=True):
            parameter.grad = None if slope is None else -slope
        before = [None if parameter.grad is None else parameter.grad.clone() for parameter in keeper.parameters]
        keeper.gradients(step)
        is_changed = any(
            not torch.equal(parameter.grad, grad)
            for parameter, grad in zip(keeper.parameters, before, strict=True)
            if parameter.grad is not None and grad is not None
        )
        assert is_changed == (step in (0, 3, 6))
    again = projection(method.keeper(make_scene(model), {}))
    again.load({name: value.clone() for name, value in keeper.state().items()})
    assert again.state()["seen"].tolist() == pytest.approx([3.0, 3.0, -1.0])
    assert again.readings() == keeper.readings()


def test_options() -> None:
    assert [AGEM(text=text).texts() for text in ("old", "self", "new")] == [("old",), ("self",), ()]
    assert AGEM(rows=4).control() == AGEM(rows=4, text="new")
    with pytest.raises(UserError, match="rows 9 exceeds memory 8"):
        build("retention", {"type": "a-gem", "rows": 9, "memory": 8})
