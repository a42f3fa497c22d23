"""What every objective must keep: exact micro-batches, steps that are found directly, options that come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.methods import build, known
from rewarm.objectives import Beginning, Objective
from rewarm.types import Batch

Begin = Callable[..., Beginning]
CAUSAL = sorted(name for name, method in known("objectives").items() if issubclass(method, Objective))
CAUSAL = [name for name in CAUSAL if known("objectives")[name].head == "causal"]  # type: ignore[attr-defined]


@pytest.fixture(params=CAUSAL)
def objective(request: pytest.FixtureRequest) -> Objective:
    """Each objective of decoders."""
    found = build("objectives", request.param)
    assert isinstance(found, Objective)
    return found


def gradients(objective: Objective, model: Any, batches: list[Batch]) -> tuple[float, list[torch.Tensor]]:
    """The loss of a step as the loop makes it, and its gradients."""
    loss, total = objective.loss(model), 0.0
    loss.begin_step()
    scale = 1 / sum(batch.num_targets for batch in batches)
    for batch in batches:
        one = loss.loss_sum(batch, scale)
        one.backward()
        total += float(one.detach())
    found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad(set_to_none=True)
    return total, found


def test_a_step_does_not_depend_on_its_micro_batches(objective: Objective, begin: Begin, make_tiny: Any) -> None:
    before, model = make_tiny("llama", seed=1), make_tiny("llama")
    whole = gradients(objective, model, objective.rows(begin(before)).batches(2))
    assert len(whole[1]) > 10
    for micro in (1, 3):
        batches = objective.rows(begin(before, micro_rows=micro)).batches(2)
        assert len(batches) > 1
        loss, found = gradients(objective, model, batches)
        assert loss == pytest.approx(whole[0], rel=1e-5)
        for one, other in zip(found, whole[1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_steps_are_found_directly_and_counted(objective: Objective, begin: Begin, make_tiny: Any) -> None:
    rows = objective.rows(begin(make_tiny("llama")))
    for start in (0, 4):
        for step, batches in enumerate(rows.iterate(start), start):
            for one, other in zip(batches, rows.batches(step), strict=True):
                assert torch.equal(one.tokens_BT, other.tokens_BT)
                assert torch.equal(one.targets_BT, other.targets_BT)
    assert rows.counts_before(4).tolist() == [4 * rows.step_tokens // rows.seq_len]
    later = objective.rows(begin(make_tiny("llama"), first_row=int(rows.counts_before(4)[0]), steps=2))
    assert torch.equal(later.batches(1)[0].tokens_BT, rows.batches(5)[0].tokens_BT)


def test_options_come_back(objective: Objective) -> None:
    assert build("objectives", objective.described()) == objective
    assert all((objective.paper, objective.cost))
