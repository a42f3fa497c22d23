"""Through torch.compile the loss and its gradients are those of the eager passes."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch

from rewarm.training.objective import Objective
from rewarm.types import Batch


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_compiled_equals_eager(make_tiny: Any) -> None:
    model = make_tiny("llama").train()
    torch.manual_seed(3)
    tokens_BT = torch.randint(3, 400, (2, 25))
    positions_BT = torch.arange(24).repeat(2, 1)
    positions_BT[0, 10:] -= 10
    batch = Batch(tokens_BT[:, :-1].contiguous(), tokens_BT[:, 1:].contiguous(), positions_BT, 48)
    found = []
    for compiled in (False, True):
        objective = Objective(model)
        if compiled:
            objective.compile()
        loss = objective.loss_sum(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((float(loss.detach()), {name: own.grad.clone() for name, own in model.named_parameters()}))
        model.zero_grad()
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    for name, gradient in found[0][1].items():
        assert torch.allclose(found[1][1][name], gradient, atol=1e-5), name
