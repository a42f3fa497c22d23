"""A few steps of training on packed rows, and what a model says of two rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rewarm.objectives.packed_loss import PackedLoss
from rewarm.types import Batch

ROWS = torch.arange(3, 35).view(2, 16)


@pytest.fixture
def logits() -> Callable[[Any], Tensor]:
    """A function: model -> its logits on two rows of 16 ids, in evaluation mode."""

    def of(model: Any) -> Tensor:
        with torch.no_grad():
            found: Tensor = model.eval()(input_ids=ROWS, use_cache=False).logits
        return found

    return of


@pytest.fixture
def fit() -> Callable[..., None]:
    """A function: model, steps=3, checkpointed=False -> trains it on two rows of two documents of 8 ids each."""

    def run(model: Any, steps: int = 3, checkpointed: bool = False) -> None:
        from rewarm.training.activations import checkpoint_layers

        objective = PackedLoss(model)
        if checkpointed:
            checkpoint_layers(model)
        positions_BT = torch.arange(8).repeat(2, 2)
        targets_BT = torch.where(positions_BT == 7, -100, ROWS.roll(-1, 1))
        batch = Batch(ROWS, targets_BT, positions_BT, 28)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-2)
        torch.manual_seed(0)
        model.train()
        for _ in range(steps):
            objective.loss_sum(batch, 1 / 28).backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()

    return run
