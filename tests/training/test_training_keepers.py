"""Several retention methods at once, by hand: in whose order they act, and under which number format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from rewarm.retention import Keeper, Retention, Scene
from rewarm.retention.ema import Ema
from rewarm.retention.recadam import RecAdam
from rewarm.retention.reptile import Reptile
from rewarm.training.keepers import Keepers
from rewarm.types import Batch

BATCH = Batch(*(torch.zeros(1, 2, dtype=torch.int64) for _ in range(3)), num_targets=1)


@pytest.fixture
def ended(tmp_path: Path) -> Callable[[Sequence[Retention]], float]:
    """A function: methods -> where a weight of 0 ends after four updates by 1 at rate 1e-3, each of which they see."""

    def walk(methods: Sequence[Retention]) -> float:
        model: Any = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        scene = Scene(model, lambda text, count: iter(()), lambda: model, tmp_path, 0, torch.float32, steps=4)
        keepers = Keepers({method.method_name(): method.keeper(scene, {}) for method in methods})
        for step in range(4):
            with torch.no_grad():
                model.weight.add_(1)
            keepers.update(step, 1e-3)
        keepers.finish()
        return float(model.weight.detach())

    return walk


def test_an_average_is_of_the_weights_that_the_others_left(ended: Callable[..., float]) -> None:
    """Pulled half of the way to 0 each time: 0.5, 0.75, 0.875, 0.9375. Averages: 0.25, 0.5, 0.6875, 0.8125."""
    pull, average = RecAdam(center=1e6, width=1.0, pull=500.0), Ema(horizon=2.0)
    for methods in ([pull, average], [average, pull]):
        assert ended(methods) == pytest.approx(0.8125)


def test_reptile_goes_a_part_of_the_way_to_the_average(ended: Callable[..., float]) -> None:
    """Weights 1, 2, then 1 again, 2, 3; averages 0.5, 1.25, 1.625, 2.3125; half of the way from 1 to that."""
    reptile, average = Reptile(every=2.0, epsilon=0.5), Ema(horizon=2.0)
    for methods in ([reptile, average], [average, reptile]):
        assert ended(methods) == pytest.approx(1.65625)


class _Seen(torch.autograd.Function):
    """Notes whether autocast is on where its gradient is made."""

    notes: ClassVar[list[bool]] = []

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        _Seen.notes.append(torch.is_autocast_enabled("cpu"))
        return grads[0]


class _Further(Keeper):
    """A further loss: the sum of a weight."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def loss(self, batch: Batch, scale: float) -> Tensor | None:
        """The sum."""
        found: Tensor = _Seen.apply(self.weight)  # type: ignore[no-untyped-call]
        return found.sum()


def test_gradients_of_further_losses_are_made_without_autocast() -> None:
    weight = torch.zeros(3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        Keepers({"further": _Further(weight)}).losses(BATCH, 1.0)
    assert _Seen.notes == [False]
    assert weight.grad is not None
    assert weight.grad.tolist() == [1, 1, 1]
