"""The causal language-model loss, summed over targets, without ever holding the logits of a whole batch.

Shapes: B rows, T positions, N targets, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch

CHUNK_BYTES = 16 << 20
"""Logits held at once. Small enough to stay near the caches, large enough for full-speed matrix products."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of `hidden_ND @ weight_VD.T + bias_V` against `targets_N`; the gradient is made beside
    the loss, chunk by chunk, in one reused buffer."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor) -> Tensor:
        count, vocabulary = hidden_ND.shape[0], weight_VD.shape[0]
        rows = max(1, min(count, CHUNK_BYTES // (4 * vocabulary)))
        buffer = torch.empty((rows, vocabulary), dtype=hidden_ND.dtype, device=hidden_ND.device)
        total = torch.zeros((), dtype=torch.float64, device=hidden_ND.device)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_weight_VD = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        grad_bias_V = torch.zeros_like(bias_V) if bias_V is not None and ctx.needs_input_grad[2] else None
        for start in range(0, count, rows):
            hidden = hidden_ND[start : start + rows]
            targets = targets_N[start : start + rows, None]
            logits = torch.mm(hidden, weight_VD.t(), out=buffer[: hidden.shape[0]])
            if bias_V is not None:
                logits += bias_V
            normaliser = torch.logsumexp(logits.float(), dim=1, keepdim=True)
            total += (normaliser - logits.gather(1, targets).float()).sum(dtype=torch.float64)
            grads = logits.sub_(normaliser).exp_()
            grads.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=grads.dtype))
            torch.mm(grads, weight_VD, out=grad_hidden_ND[start : start + rows])
            if grad_weight_VD is not None:
                grad_weight_VD.addmm_(grads.t(), hidden)
            if grad_bias_V is not None:
                grad_bias_V += grads.sum(0)
        ctx.save_for_backward(grad_hidden_ND, grad_weight_VD, grad_bias_V)
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        scale = grads[0]
        return (
            hidden.mul_(scale),
            None if weight is None else weight.mul_(scale),
            None if bias is None else bias.mul_(scale),
            None,
        )


def has_plain_head(model: PreTrainedModel) -> bool:
    """Whether the logits are exactly a linear map of the last hidden state (no capping, scaling or extra layer)."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or model.base_model is model:
        return False
    tokens = torch.zeros((1, 4), dtype=torch.long, device=head.weight.device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        whole = model(input_ids=tokens, use_cache=False).logits
        parts = head(model.base_model(input_ids=tokens, use_cache=False).last_hidden_state)
    model.train(was_training)
    return bool(torch.equal(whole, parts))


class Objective:
    """The loss of a batch under a model: nats summed over its targets.

    A model whose head is not plain falls back to its own logits, at the memory that costs.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.chunked = has_plain_head(model)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        device = self.model.device
        return {
            "input_ids": batch.tokens_BT.to(device, non_blocking=True),
            "position_ids": batch.positions_BT.to(device, non_blocking=True),
            "use_cache": False,
        }

    def loss_sum(self, batch: Batch) -> Tensor:
        """Nats summed over the batch's targets, a scalar with its gradient."""
        targets_BT = batch.targets_BT.to(self.model.device, non_blocking=True)
        if not self.chunked:
            logits_BTV = self.model(**self._inputs(batch)).logits
            return torch.nn.functional.cross_entropy(
                logits_BTV.flatten(0, 1).float(),
                targets_BT.flatten(),
                ignore_index=NO_TARGET,
                reduction="sum",
            )
        hidden_BTD = self.model.base_model(**self._inputs(batch)).last_hidden_state
        chosen_N = (targets_BT.flatten() != NO_TARGET).nonzero()[:, 0]
        hidden_ND = hidden_BTD.flatten(0, 1).index_select(0, chosen_N)
        head: torch.nn.Linear = self.model.get_output_embeddings()
        weight_VD = head.weight.to(hidden_ND.dtype)
        result: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden_ND, weight_VD, head.bias, targets_BT.flatten().index_select(0, chosen_N)
        )
        return result

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> Tensor:
        """Nats of every target (B, T) in fp32; 0 where there is none."""
        targets_BT = batch.targets_BT.to(self.model.device)
        flat_N = targets_BT.flatten()
        losses = torch.zeros(flat_N.shape, dtype=torch.float32, device=flat_N.device)
        if not self.chunked:
            logits_NV = self.model(**self._inputs(batch)).logits.flatten(0, 1).float()
            losses = torch.nn.functional.cross_entropy(logits_NV, flat_N, ignore_index=NO_TARGET, reduction="none")
            return losses.view_as(targets_BT)
        hidden_ND = self.model.base_model(**self._inputs(batch)).last_hidden_state.flatten(0, 1)
        head: torch.nn.Linear = self.model.get_output_embeddings()
        rows = max(1, CHUNK_BYTES // (4 * head.weight.shape[0]))
        chosen_N = (flat_N != NO_TARGET).nonzero()[:, 0]
        for part in chosen_N.split(rows):
            logits = head(hidden_ND.index_select(0, part)).float()
            losses[part] = torch.nn.functional.cross_entropy(logits, flat_N[part], reduction="none")
        return losses.view_as(targets_BT)
