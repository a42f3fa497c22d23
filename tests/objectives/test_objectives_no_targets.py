"""A micro-batch may hold nothing but a prompt: its loss is 0, and so is its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rewarm.objectives.packed_loss import PackedLoss
from rewarm.retention.fisher import fisher
from rewarm.tokens.order import Segment
from rewarm.tokens.packing import pack
from rewarm.types import Batch


def row(learned: bool) -> Batch:
    ids = np.arange(3, 11, dtype=np.uint16)
    return pack([[Segment(ids, 8, np.full(8, learned))]], 8)


@pytest.mark.parametrize("name", ["llama", "gemma2"])  # a plain head, and one whose logits come whole
def test_a_batch_without_targets_has_no_loss_and_no_gradient(make_tiny: Any, name: str) -> None:
    model = make_tiny(name)
    loss = PackedLoss(model)
    batch = row(learned=False)
    assert batch.num_targets == 0
    value = loss.loss_sum(batch, 1.0)
    value.backward()
    assert float(value.detach()) == 0.0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())
    assert torch.equal(loss.token_losses(batch), torch.zeros(1, 8))


def test_rows_without_targets_do_not_thin_out_the_fisher_information(make_tiny: Any) -> None:
    model = make_tiny("llama")
    plain = fisher(model, [row(True)], torch.float32, lambda done: None)
    mixed = fisher(model, [row(True), row(False)], torch.float32, lambda done: None)
    assert all(torch.equal(plain[name], mixed[name]) for name in plain)
