"""Cross-entropy of a linear head, with its gradient, without ever holding the logits of a whole batch.

Shapes: N targets, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rewarm.objectives.head_terms import HeadTerm, block_losses, blocks

CHUNK_BYTES = (512 if torch.cuda.is_available() else 32) << 20
"""Logits held at once: measured on 2 cores, 16 to 64 MiB are equally fast at 8,192 ids, and 4 MiB is a tenth slower. On
a GPU, not measured, more: each chunk reads and writes the whole gradient of the head."""
MIN_ROWS = 512
"""With a large vocabulary, fewer rows than this pay more for adding up the head's gradient than for computing it."""


def chunk_rows(count: int, vocabulary: int) -> int:
    """How many of `count` targets have their logits held at once, in fp32."""
    return max(1, min(count, max(MIN_ROWS, CHUNK_BYTES // (4 * vocabulary))))


class Workspace:
    """The memory for one chunk of logits, kept from call to call: fresh pages would cost more than what fills them."""

    def __init__(self) -> None:
        self._held: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def chunk(self, rows: int, head_VD: Tensor, dtype: torch.dtype) -> Tensor:
        """Uninitialised (rows, V) of that type on the head's device; the same memory whenever it is asked for."""
        vocabulary = head_VD.shape[0]
        held = self._held.get((dtype, head_VD.device))
        if held is None or held.numel() < rows * vocabulary:
            held = torch.empty(rows * vocabulary, dtype=dtype, device=head_VD.device)
            self._held[dtype, head_VD.device] = held
        return held[: rows * vocabulary].view(rows, vocabulary)


def chunk_logits(hidden_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, workspace: Workspace) -> Tensor:
    """Logits (N, V) at least in fp32, which lie in the workspace. The product is made in the dtype of its factors."""
    exact = torch.promote_types(hidden_ND.dtype, torch.float32)
    logits_NV = workspace.chunk(len(hidden_ND), head_VD, exact)
    product_NV = workspace.chunk(len(hidden_ND), head_VD, hidden_ND.dtype)
    torch.mm(hidden_ND, head_VD.t(), out=product_NV)
    if exact != hidden_ND.dtype:
        logits_NV.copy_(product_NV)
    if bias_V is not None:
        logits_NV += bias_V
    return logits_NV


def chunk_losses(
    hidden_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, targets_N1: Tensor, workspace: Workspace
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (N, 1), and the softmax's numerators (N, V), which lie in the workspace, and denominators (N, 1)."""
    logits_NV = chunk_logits(hidden_ND, head_VD, bias_V, workspace)
    largest_N1 = logits_NV.amax(1, keepdim=True)
    wanted_N1 = logits_NV.gather(1, targets_N1)
    logits_NV.sub_(largest_N1).exp_()
    sums_N1 = logits_NV.sum(1, keepdim=True)
    return sums_N1.log() + largest_N1 - wanted_N1, logits_NV, sums_N1


def chunk_nats(
    hidden_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, targets_N1: Tensor, workspace: Workspace
) -> Tensor:
    """Losses (N, 1), where nothing but these is wanted."""
    if hidden_ND.is_cuda:
        return chunk_losses(hidden_ND, head_VD, bias_V, targets_N1, workspace)[0]
    # One kernel, which goes over a row while it lies in the cache: measured, half the time of the four in chunk_losses.
    logits_NV = chunk_logits(hidden_ND, head_VD, bias_V, workspace)
    return -torch.log_softmax(logits_NV, 1, out=logits_NV).gather(1, targets_N1)


def _chunk_with_terms(
    logits_NV: Tensor, targets_N1: Tensor, start: int, terms: Sequence[HeadTerm]
) -> tuple[Tensor, Tensor, Tensor]:
    """As `chunk_losses`, of logits that begin at target `start`: but the gradient times the sums, not numerators."""
    losses_N1 = torch.zeros_like(logits_NV[:, :1])
    sums_N1 = torch.empty_like(losses_N1)
    count, vocabulary = logits_NV.shape
    for part in blocks(start, start + count, vocabulary, logits_NV.is_cuda, terms):
        here = slice(part.start - start, part.stop - start)
        found_N1, sums_N1[here] = block_losses(logits_NV[here], targets_N1[here], part.start, terms)
        if found_N1 is not None:
            losses_N1[here] = found_N1
    return losses_N1, logits_NV, sums_N1


class LinearCrossEntropy(torch.autograd.Function):
    """scale x the sum of cross-entropies of `hidden_ND @ head_VD.T + bias_V` against `targets_N`, and of terms; fp32.

    The gradient is made beside the loss, chunk by chunk: with numerators e and their sum s, that of the logits is
    scale x (e / s - [target]). The division by s is left to the factors (N, D), so that no pass over (N, V) makes it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        head_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        scale: float,
        workspace: Workspace,
        *terms: HeadTerm,
    ) -> Tensor:
        count, vocabulary = hidden_ND.shape[0], head_VD.shape[0]
        rows = chunk_rows(count, vocabulary)
        factor_VD = head_VD.to(hidden_ND.dtype)
        total = torch.zeros((), dtype=torch.float64, device=hidden_ND.device)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_head_VD: Tensor | None = None
        exact = torch.promote_types(hidden_ND.dtype, torch.float32)
        grad_bias_V = torch.zeros_like(bias_V, dtype=exact) if bias_V is not None and ctx.needs_input_grad[2] else None
        for start in range(0, count, rows):
            hidden = hidden_ND[start : start + rows]
            targets = targets_N[start : start + rows, None]
            if terms:
                logits = chunk_logits(hidden, factor_VD, bias_V, workspace)
                losses, slopes, sums = _chunk_with_terms(logits, targets, start, terms)
            else:
                losses, slopes, sums = chunk_losses(hidden, factor_VD, bias_V, targets, workspace)
                slopes.scatter_add_(1, targets, -sums)
            total += losses.sum(dtype=torch.float64)
            share = scale / sums
            if grad_bias_V is not None:
                grad_bias_V.addmv_(slopes.t(), share[:, 0])  # in place, where autocast does not round it
            if slopes.dtype != hidden.dtype:
                slopes = workspace.chunk(len(hidden), head_VD, hidden.dtype).copy_(slopes)
            torch.mm(slopes, factor_VD, out=grad_hidden_ND[start : start + rows])
            grad_hidden_ND[start : start + rows] *= share
            if ctx.needs_input_grad[1]:
                grad_head_VD = _add_product(grad_head_VD, slopes.t(), (hidden * share).to(hidden.dtype), head_VD.dtype)
        if ctx.needs_input_grad[1] and grad_head_VD is None:
            grad_head_VD = torch.zeros_like(head_VD)
        ctx.save_for_backward(grad_hidden_ND, grad_head_VD, grad_bias_V)
        return (sum((term.value for term in terms), total) * scale).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor | None, ...] = ctx.saved_tensors
        # On a CPU looking is free, and spares a pass over the head's gradient; on a GPU it would wait for it.
        if grads[0].is_cuda or float(grads[0]) != 1.0:
            found = tuple(None if grad is None else grad.mul_(grads[0]) for grad in found)
        return *found, *(None for _ in ctx.needs_input_grad[3:])


class LinearTargetLosses(torch.autograd.Function):
    """Cross-entropies (N,) of `hidden_ND @ head_VD.T + bias_V` against `targets_N` in fp32, each with its gradient.

    Where what is minimised weighs targets by their own losses, their gradients cannot be made beside them: the logits
    are made again for the backward pass, a chunk at a time.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor, workspace: Workspace
    ) -> Tensor:
        rows = chunk_rows(hidden_ND.shape[0], head_VD.shape[0])
        factor_VD = head_VD.to(hidden_ND.dtype)
        parts = zip(hidden_ND.split(rows), targets_N[:, None].split(rows), strict=True)
        found = [chunk_nats(hidden, factor_VD, bias_V, targets, workspace) for hidden, targets in parts]
        ctx.save_for_backward(hidden_ND, head_VD, bias_V, targets_N)
        ctx.workspace = workspace
        return torch.cat(found)[:, 0].float() if found else hidden_ND.new_zeros(0, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, head_VD, bias_V, targets_N = ctx.saved_tensors
        rows = chunk_rows(hidden_ND.shape[0], head_VD.shape[0])
        factor_VD = head_VD.to(hidden_ND.dtype)
        exact = torch.promote_types(hidden_ND.dtype, torch.float32)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_head_VD = torch.zeros_like(head_VD) if ctx.needs_input_grad[1] and not len(hidden_ND) else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=exact) if bias_V is not None and ctx.needs_input_grad[2] else None
        for start in range(0, hidden_ND.shape[0], rows):
            part = slice(start, start + rows)
            hidden, targets = hidden_ND[part], targets_N[part, None]
            _, slopes, sums = chunk_losses(hidden, factor_VD, bias_V, targets, ctx.workspace)
            slopes.scatter_add_(1, targets, -sums)
            share = grads[0][part, None].to(sums.dtype) / sums
            if grad_bias_V is not None:
                grad_bias_V.addmv_(slopes.t(), share[:, 0])
            if slopes.dtype != hidden.dtype:
                slopes = ctx.workspace.chunk(len(hidden), head_VD, hidden.dtype).copy_(slopes)
            torch.mm(slopes, factor_VD, out=grad_hidden_ND[part])
            grad_hidden_ND[part] *= share
            if ctx.needs_input_grad[1]:
                grad_head_VD = _add_product(grad_head_VD, slopes.t(), (hidden * share).to(hidden.dtype), head_VD.dtype)
        return grad_hidden_ND, grad_head_VD, grad_bias_V, None, None


def _add_product(total: Tensor | None, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """total + left @ right, the sum at least in fp32: adding up in bf16 would lose small parts."""
    exact = torch.promote_types(dtype, torch.float32)
    if total is None:
        return torch.mm(left, right).to(exact)
    if total.dtype == left.dtype:
        return total.addmm_(left, right)
    return total.add_(torch.mm(left, right))
