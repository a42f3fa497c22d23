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
OBJECTIVES = sorted(name for name, method in known("objectives").items() if issubclass(method, Objective))


@pytest.fixture(params=OBJECTIVES)
def objective(request: pytest.FixtureRequest) -> Objective:
    """Each objective."""
    found = build("objectives", request.param)
    assert isinstance(found, Objective)
    return found


@pytest.fixture
def make(objective: Objective, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function: seed=0 -> a tiny model of the kind that the objective trains."""
    fixture, name = {
        "causal": ("make_tiny", "llama"), "masked": ("make_masked", "bert"), "seq2seq": ("make_seq2seq", "t5"),
    }[objective.head]  # fmt: skip
    maker = request.getfixturevalue(fixture)
    return lambda seed=0: maker(name, seed=seed)


@pytest.fixture
def starts(objective: Objective, begin: Begin, request: pytest.FixtureRequest) -> Begin:
    """`begin` with the tokenizer of such a model."""
    kind = {"causal": "middle", "masked": "masked", "seq2seq": "sentinel"}[objective.head]
    folder = request.getfixturevalue(f"{kind}_tokenizer_folder")
    return lambda *given, **more: begin(*given, tokenizer=folder, **more)


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


def test_a_step_does_not_depend_on_its_micro_batches(
    objective: Objective, starts: Begin, make: Callable[..., Any]
) -> None:
    before, model = make(seed=1), make()
    whole = gradients(objective, model, objective.rows(starts(before)).batches(2))
    assert len(whole[1]) > 10
    for micro in (1, 3):
        batches = objective.rows(starts(before, micro_rows=micro)).batches(2)
        assert len(batches) > 1
        loss, found = gradients(objective, model, batches)
        assert loss == pytest.approx(whole[0], rel=1e-5)
        for one, other in zip(found, whole[1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_steps_are_found_directly_and_counted(objective: Objective, starts: Begin, make: Callable[..., Any]) -> None:
    rows = objective.rows(starts(make()))
    for start in (0, 4):
        for step, batches in enumerate(rows.iterate(start), start):
            for one, other in zip(batches, rows.batches(step), strict=True):
                assert torch.equal(one.tokens_BT, other.tokens_BT)
                assert torch.equal(one.targets_BT, other.targets_BT)
    assert rows.counts_before(4).tolist() == [4 * rows.step_tokens // rows.seq_len]
    later = objective.rows(starts(make(), first_row=int(rows.counts_before(4)[0]), steps=2))
    assert torch.equal(later.batches(1)[0].tokens_BT, rows.batches(5)[0].tokens_BT)


def test_options_come_back(objective: Objective) -> None:
    assert build("objectives", objective.described()) == objective
    assert all((objective.paper, objective.cost))
