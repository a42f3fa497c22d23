"""The causal language-model loss, summed over targets, without ever holding the logits of a whole batch.

Shapes: B rows, T positions, N targets, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch, UserError

CHUNK_BYTES = 64 << 20
"""Logits held at once: measured a third faster than 16 MiB (8192 ids, width 256, 2 cores), and no slower than more."""
MIN_ROWS = 256
"""With a large vocabulary, fewer rows than this pay more for adding up the head's gradient than for computing it."""
ISOLATED = 1e-4
"""Hidden values of a document may differ by this much (relative) with what precedes it in its row; rounding only."""

_ISOLATING = (
    "rewarm packs documents into rows and needs a model that keeps them apart by position_ids, as Llama, Qwen, "
    "Mistral, Gemma, OLMo, Phi, GPT-NeoX and GPT-2 do"
)


def _chunk_rows(count: int, vocabulary: int) -> int:
    return max(1, min(count, max(MIN_ROWS, CHUNK_BYTES // (4 * vocabulary))))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of `hidden_ND @ weight_VD.T + bias_V` against `targets_N`; the gradient is made beside
    the loss, chunk by chunk, in one reused buffer. Products are made in the dtype of `hidden_ND`; the softmax and the
    sums over chunks in fp32."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor) -> Tensor:
        count, vocabulary = hidden_ND.shape[0], weight_VD.shape[0]
        rows = _chunk_rows(count, vocabulary)
        exact = torch.promote_types(weight_VD.dtype, torch.float32)
        factor_VD = weight_VD.to(hidden_ND.dtype)
        buffer = torch.empty((rows, vocabulary), dtype=hidden_ND.dtype, device=hidden_ND.device)
        total = torch.zeros((), dtype=torch.float64, device=hidden_ND.device)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=exact) if ctx.needs_input_grad[1] else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=exact) if bias_V is not None and ctx.needs_input_grad[2] else None
        for start in range(0, count, rows):
            hidden = hidden_ND[start : start + rows]
            targets = targets_N[start : start + rows, None]
            logits = torch.mm(hidden, factor_VD.t(), out=buffer[: hidden.shape[0]]).to(exact)
            if bias_V is not None:
                logits += bias_V
            normaliser = torch.logsumexp(logits, dim=1, keepdim=True)
            total += (normaliser - logits.gather(1, targets)).sum(dtype=torch.float64)
            slopes = logits.sub_(normaliser).exp_()
            slopes.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=slopes.dtype))
            if grad_bias_V is not None:
                grad_bias_V += slopes.sum(0)
            slopes = slopes.to(hidden.dtype)
            torch.mm(slopes, factor_VD, out=grad_hidden_ND[start : start + rows])
            if grad_weight_VD is not None:
                _add_product(grad_weight_VD, slopes.t(), hidden)
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


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, the sum in `total`'s own dtype: adding up in bf16 would lose small parts."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right)


@contextmanager
def _probing(model: PreTrainedModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
        yield
    model.train(was_training)


def _probe_tokens(model: PreTrainedModel, count: int) -> Tensor:
    """Ids from all over the vocabulary: a single one may be padding, whose embedding is zero in some families."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    return torch.arange(1, count + 1, device=model.device) * max(1, vocabulary // (count + 1)) % vocabulary


def has_plain_head(model: PreTrainedModel) -> bool:
    """Whether the logits are exactly a linear map of the last hidden state (no capping, scaling or extra layer)."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or model.base_model is model:
        return False
    tokens_BT = _probe_tokens(model, 32)[None]
    with _probing(model):
        whole_BTV = model(input_ids=tokens_BT, use_cache=False).logits
        parts_BTV = head(model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state)
    return bool(torch.equal(whole_BTV, parts_BTV))


def check_isolation(model: PreTrainedModel) -> None:
    """UserError when a document's logits depend on the document before it in a packed row.

    Recurrent models, and families whose attention does not follow `position_ids` (OPT, BLOOM, MPT, Falcon), do so.
    """
    document = _probe_tokens(model, 7)
    tokens_BT = torch.stack(
        [torch.cat([document[:4], document[4:]]), torch.cat([document[[4, 4, 4, 4]], document[4:]])]
    )
    positions_BT = torch.tensor([[0, 1, 2, 3, 0, 1, 2]] * 2, device=model.device)
    try:
        with _probing(model):
            first, second = model(input_ids=tokens_BT, position_ids=positions_BT, use_cache=False).logits[:, 4:].float()
    except TypeError as error:
        raise UserError(f"{type(model).__name__} takes no position_ids. {_ISOLATING}") from error
    if float((first - second).abs().max()) > ISOLATED * float(first.abs().max()):
        raise UserError(f"{type(model).__name__} reads across the documents of a packed row. {_ISOLATING}")


class Objective:
    """The loss of a batch under a model: nats summed over its targets.

    A model whose head is not plain falls back to its own logits, at the memory that costs. With `compiled` both passes
    go through torch.compile, which needs a C++ compiler on CPUs. UserError for a model that mixes packed
    documents.
    """

    def __init__(self, model: PreTrainedModel, compiled: bool = False) -> None:
        check_isolation(model)
        self.model = model
        self.chunked = has_plain_head(model)
        self._whole: Callable[..., Any] = torch.compile(model) if compiled and not self.chunked else model
        self._body: Callable[..., Any] = torch.compile(model.base_model) if compiled else model.base_model

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
            logits_BTV = self._whole(**self._inputs(batch)).logits
            return torch.nn.functional.cross_entropy(
                logits_BTV.flatten(0, 1).float(),
                targets_BT.flatten(),
                ignore_index=NO_TARGET,
                reduction="sum",
            )
        hidden_BTD = self._body(**self._inputs(batch)).last_hidden_state
        chosen_N = (targets_BT.flatten() != NO_TARGET).nonzero()[:, 0]
        hidden_ND = hidden_BTD.flatten(0, 1).index_select(0, chosen_N)
        # Inside the function nothing is cast by autocast; without this the head would be the one fp32 product left.
        if torch.is_autocast_enabled(hidden_ND.device.type):
            hidden_ND = hidden_ND.to(torch.get_autocast_dtype(hidden_ND.device.type))
        head: torch.nn.Linear = self.model.get_output_embeddings()
        result: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden_ND, head.weight, head.bias, targets_BT.flatten().index_select(0, chosen_N)
        )
        return result

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> Tensor:
        """Nats of every target (B, T) in fp32; 0 where there is none."""
        targets_BT = batch.targets_BT.to(self.model.device)
        flat_N = targets_BT.flatten()
        losses = torch.zeros(flat_N.shape, dtype=torch.float32, device=flat_N.device)
        if not self.chunked:
            logits_NV = self._whole(**self._inputs(batch)).logits.flatten(0, 1).float()
            losses = torch.nn.functional.cross_entropy(logits_NV, flat_N, ignore_index=NO_TARGET, reduction="none")
            return losses.view_as(targets_BT)
        hidden_ND = self._body(**self._inputs(batch)).last_hidden_state.flatten(0, 1)
        head: torch.nn.Linear = self.model.get_output_embeddings()
        chosen_N = (flat_N != NO_TARGET).nonzero()[:, 0]
        for part in chosen_N.split(_chunk_rows(len(chosen_N), head.weight.shape[0])):
            logits = head(hidden_ND.index_select(0, part)).float()
            losses[part] = torch.nn.functional.cross_entropy(logits, flat_N[part], reduction="none")
        return losses.view_as(targets_BT)
