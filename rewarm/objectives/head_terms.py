"""Further terms of the loss that look at the head's logits: they share the pass that the cross-entropy makes.

Logits are handled a block at a time, a block being few enough rows to stay in a processor's cache: a term makes about
ten passes over them, which would each cost as much as the memory is slow. A block never crosses an edge of a term.

Shapes: N targets (of the micro-batch; of a block), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_BYTES = 1 << 20
"""Logits that a term handles at once on a CPU; measured on 2 cores, see benchmarks/retention.py."""


class HeadTerm(Protocol):
    """What a term says of the logits of one micro-batch, whose targets are counted from 0 in the order of the batch.

    A block lies between two of its `edges`, the targets at which it begins or ends to act.
    """

    @property
    def edges(self) -> Sequence[int]:
        """Numbers of targets; a block ends before each of them."""

    def is_labelled(self, first: int) -> bool:
        """Whether the cross-entropy of the block from target `first` on counts; else its targets are not read."""

    def slopes(self, first: int, shifted_NV: Tensor) -> Tensor | None:
        """The term's gradient by the logits of a block (N, V), in memory of its own; None where it does not act.

        `shifted_NV` are the logits less the largest of each row, and must not be changed. The term adds its value to
        `value`.
        """

    @property
    def value(self) -> Tensor:
        """What the term has added to the loss, in nats summed over targets, a scalar; before the loss's `scale`."""


def blocks(start: int, stop: int, vocabulary: int, on_gpu: bool, terms: Sequence[HeadTerm]) -> Iterator[slice]:
    """The blocks that cover targets `start` to `stop`, as slices of the micro-batch's targets."""
    size = stop - start if on_gpu else max(1, BLOCK_BYTES // (4 * vocabulary))
    edges = {edge for term in terms for edge in term.edges if start < edge < stop} | {stop}
    for edge in sorted(edges):
        while start < edge:
            end = min(edge, start + size)
            yield slice(start, end)
            start = end


def block_losses(
    logits_NV: Tensor, targets_N1: Tensor, first: int, terms: Sequence[HeadTerm]
) -> tuple[Tensor | None, Tensor]:
    """Cross-entropies (N, 1) of the block that begins at target `first`, None where they do not count, and sums (N, 1).

    `logits_NV`, at least fp32, becomes the gradient of cross-entropy and terms by the logits, times the sums.
    """
    largest_N1 = logits_NV.amax(1, keepdim=True)
    is_labelled = all(term.is_labelled(first) for term in terms)
    wanted_N1 = logits_NV.gather(1, targets_N1) if is_labelled else largest_N1
    logits_NV.sub_(largest_N1)
    found = [slopes for term in terms if (slopes := term.slopes(first, logits_NV)) is not None]
    logits_NV.exp_()
    sums_N1 = logits_NV.sum(1, keepdim=True)
    losses_N1 = None
    if is_labelled:
        losses_N1 = sums_N1.log() + largest_N1 - wanted_N1
        logits_NV.scatter_add_(1, targets_N1, -sums_N1)
    else:
        logits_NV.zero_()
    for slopes_NV in found:
        logits_NV.addcmul_(slopes_NV, sums_N1)
    return losses_N1, sums_N1


class LogitLosses(torch.autograd.Function):
    """scale x (the sum of cross-entropies, plus the terms) of logits that a model has made whole, as fp32."""

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor, scale: float, terms: Sequence[HeadTerm]) -> Tensor:
        slopes_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32), copy=True)
        total = torch.zeros((), dtype=torch.float64, device=logits_NV.device)
        for part in blocks(0, len(targets_N), logits_NV.shape[1], logits_NV.is_cuda, terms):
            losses_N1, sums_N1 = block_losses(slopes_NV[part], targets_N[part, None], part.start, terms)
            slopes_NV[part] *= scale / sums_N1
            if losses_N1 is not None:
                total += losses_N1.sum(dtype=torch.float64)
        ctx.save_for_backward(slopes_NV.to(logits_NV.dtype))
        return (scale * sum((term.value for term in terms), total)).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slopes_NV,) = ctx.saved_tensors
        return slopes_NV * grads[0], None, None, None
