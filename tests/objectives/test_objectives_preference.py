"""DPO against a plain reckoning of its formula, and a reference that stays where it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax

from rewarm.models.load import weights_hash
from rewarm.objectives import Beginning
from rewarm.objectives.cross_entropy import LinearTargetLosses, Workspace
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.objectives.pair_loss import PairLoss, log_probabilities
from rewarm.objectives.preference import Preference
from rewarm.tokens.order import Segment
from rewarm.tokens.pairs import PairBatch, PairRows, pair_batch
from rewarm.types import UserError

Begin = Callable[..., Beginning]


def first_batch(objective: Preference, beginning: Beginning) -> PairBatch:
    batch = objective.rows(beginning).batches(0)[0]
    assert isinstance(batch, PairBatch)
    assert batch.reference_P2 is not None
    return batch


def plainly(model: Any, batch: PairBatch) -> torch.Tensor:
    """Log-probabilities of the answers (P, 2), each document by itself through the model."""
    tokens, targets = batch.tokens_BT[0], batch.targets_BT[0]
    starts = [*(batch.positions_BT[0] == 0).nonzero()[:, 0].tolist(), len(tokens)]
    found = []
    for start, stop in pairwise(starts):
        logs_TV = log_softmax(model(input_ids=tokens[None, start:stop], use_cache=False).logits[0].double(), -1)
        own = targets[start:stop]
        found.append(logs_TV[own >= 0].gather(1, own[own >= 0, None]).sum())
    return torch.stack(found).view(-1, 2)


def test_the_loss_is_log_2_where_the_model_is_its_reference(begin: Begin, make_tiny: Any) -> None:
    model, objective = make_tiny("llama"), Preference()
    loss, batch = objective.loss(model), first_batch(Preference(), begin(make_tiny("llama")))
    assert float(loss.loss_sum(batch, 1 / batch.num_targets).detach()) == pytest.approx(math.log(2), abs=1e-6)
    with torch.no_grad():
        own = log_probabilities(PackedLoss(model), batch)[0]
    exact = pair_batch_with(batch, own)
    assert float(loss.loss_sum(exact, 1 / batch.num_targets).detach()) == float(torch.tensor(math.log(2)))


def pair_batch_with(batch: PairBatch, reference_P2: torch.Tensor) -> PairBatch:
    return PairBatch(
        batch.tokens_BT, batch.targets_BT, batch.positions_BT, batch.num_targets, reference_P2=reference_P2
    )


@pytest.mark.parametrize("name", ["llama", "gemma2"])  # with a plain head, and one that caps its logits
def test_loss_and_gradient_are_those_of_the_formula(begin: Begin, make_tiny: Any, name: str) -> None:
    model, before = make_tiny(name), make_tiny(name, seed=1)
    objective = Preference(beta=0.3, sft=0.2, label_smoothing=0.1)
    batch = first_batch(objective, begin(before))
    with torch.no_grad():
        reference = plainly(before, batch)
    assert batch.reference_P2 is not None
    torch.testing.assert_close(batch.reference_P2, reference, rtol=1e-5, atol=1e-5)
    found = objective.loss(model).loss_sum(batch, 1 / batch.num_targets)
    gradient = torch.autograd.grad(found, list(model.parameters()))
    own = plainly(model, batch)
    moved = own - reference
    margins = 0.3 * (moved[:, 0] - moved[:, 1])
    losses = 0.9 * torch.log(1 + torch.exp(-margins)) + 0.1 * torch.log(1 + torch.exp(margins))
    owners = (batch.positions_BT[0] == 0).cumsum(0)[batch.targets_BT[0] >= 0] - 1
    tokens = torch.bincount(owners, minlength=len(own) * 2).view(-1, 2)[:, 0]
    wanted = (losses - 0.2 * own[:, 0] / tokens).mean()
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    for one, other in zip(gradient, torch.autograd.grad(wanted, list(model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_a_step_lifts_the_chosen_token_and_lowers_the_rejected_one(make_tiny: Any) -> None:
    """One pair of one-token answers; at the reference the gradient is -beta/2 that of their log-probabilities apart."""
    model = make_tiny("llama")
    learned = np.array([False, True])
    batch = pair_batch([Segment(np.array([5, token]), 2, learned) for token in (7, 9)])
    own = plainly(model, batch)
    before = own.detach()
    wanted = torch.autograd.grad(-0.2 * (own[0, 0] - own[0, 1]), list(model.parameters()))
    PairLoss(model, beta=0.4).loss_sum(pair_batch_with(batch, before)).backward()
    for parameter, slope in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, slope, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * (0 if parameter.grad is None else parameter.grad)
        after = log_probabilities(PackedLoss(model), batch)[0]
    assert after[0, 0] > before[0, 0]
    assert after[0, 1] < before[0, 1]


def test_the_reference_is_kept_and_never_moved(begin: Begin, make_tiny: Any) -> None:
    """What is on disk is what the model gives; it is read again, for these weights only, and only where it is whole."""
    before = make_tiny("llama")
    weights, asked = weights_hash(before), begin(before)
    Preference().rows(asked)
    (file,) = asked.kept.iterdir()
    held = np.load(file)
    live = plainly(before, first_batch(Preference(), asked)).detach()
    torch.testing.assert_close(first_batch(Preference(), asked).reference_P2, live, rtol=1e-5, atol=1e-5)
    assert (weights_hash(before), before.training) == (weights, False)
    np.save(file, held + 1.0)  # what is there is taken
    assert np.nanmin(held_by(Preference().rows(begin(before))) - held) == pytest.approx(1.0)
    np.save(file, held[:1])  # of another store
    assert np.array_equal(held_by(Preference().rows(begin(before))), held, equal_nan=True)
    Preference().rows(begin(make_tiny("llama", seed=1)))
    assert len(list(asked.kept.iterdir())) == 2


def held_by(rows: Any) -> Any:
    """What the rows know of the reference."""
    assert isinstance(rows, PairRows)
    return rows.references[0]


def test_readings_are_those_of_the_step_alone(begin: Begin, make_tiny: Any) -> None:
    model = make_tiny("llama")
    loss, batch = Preference().loss(model), first_batch(Preference(), begin(make_tiny("llama", seed=1)))
    for _ in range(2):
        loss.begin_step()
        loss.loss_sum(batch)
    assert batch.reference_P2 is not None
    own = plainly(model, batch).detach()
    moved = own - batch.reference_P2
    found = loss.readings()
    assert found["pairs"] == batch.num_targets
    assert found["accuracy"] == pytest.approx(float((moved[:, 0] > moved[:, 1]).double().mean()))
    assert found["margin"] == pytest.approx(float(0.1 * (moved[:, 0] - moved[:, 1]).mean()), abs=1e-5)
    assert [found["chosen"], found["rejected"]] == pytest.approx(own.mean(0).tolist(), rel=1e-4)


def test_a_step_without_a_pair_is_refused_before_there_is_a_model(begin: Begin) -> None:
    asked = begin(None)
    few = dataclasses.replace(asked, source_SR=np.zeros((60, 1), np.uint8), seq_len=16)
    Preference().check(asked)
    with pytest.raises(UserError, match=r"steps would have no pair.*Raise batch_tokens"):
        Preference().check(few)


def test_losses_of_targets_have_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks of two, with a bias and weights that differ: as torch has it."""
    monkeypatch.setattr("rewarm.objectives.cross_entropy.chunk_rows", lambda count, vocabulary: 2)
    torch.manual_seed(0)
    hidden, head, bias = torch.randn(5, 4), torch.randn(7, 4), torch.randn(7)
    targets, weights = torch.tensor([0, 6, 3, 3, 1]), torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    inputs = [value.requires_grad_() for value in (hidden, head, bias)]
    found = LinearTargetLosses.apply(*inputs, targets, Workspace())  # type: ignore[no-untyped-call]
    wanted = cross_entropy(hidden @ head.t() + bias, targets, reduction="none")
    torch.testing.assert_close(found, wanted)
    slopes = torch.autograd.grad((found * weights).sum(), inputs)
    for one, other in zip(slopes, torch.autograd.grad((wanted * weights).sum(), inputs), strict=True):
        torch.testing.assert_close(one, other)
