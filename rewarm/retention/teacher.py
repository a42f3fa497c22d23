"""A frozen model's distribution over the next token, and how far the student's is from it.

Both are taken at a temperature T: q = softmax(teacher / T), p = softmax(student / T), over the vocabulary. The gradient
of T^2 KL(q || p) by the student's logits is T (p - q).

Shapes: N targets, V vocabulary, K the ids kept of a cached distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.objectives.packed_loss import Logits, PackedLoss
from rewarm.types import Batch


class Buffers:
    """Memory for a few blocks, kept from call to call: fresh pages would cost more than what fills them."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, torch.dtype], Tensor] = {}

    def like(self, number: int, value_NV: Tensor) -> Tensor:
        """Buffer `number`, uninitialised, in the shape, type and place of a tensor."""
        held = self._held.get((number, value_NV.dtype))
        if held is None or held.numel() < value_NV.numel() or held.device != value_NV.device:
            held = self._held[number, value_NV.dtype] = torch.empty_like(value_NV).flatten()
        return held[: value_NV.numel()].view_as(value_NV)


class Teaching(Protocol):
    """What a teacher says of some rows of a batch, whose targets are counted from 0."""

    def against(self, part: slice, shifted_NV: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """KL(q || p) of the targets `part` (N,) in nats, and factor x (p - q) (N, V), which lies in a buffer.

        `shifted_NV` are the student's logits less the largest of each row.
        """


@dataclass(slots=True)
class Whole:
    """The whole distribution, from logits that the teacher makes anew. `targets_N` only where logits are swapped."""

    logits: Logits
    temperature: float
    targets_N: Tensor | None
    buffers: Buffers

    def against(self, part: slice, shifted_NV: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """By teacher and student logits; both at T in buffers, and their difference, which the KL is the mean of."""
        teacher_NV, student_NV, apart_NV = (self.buffers.like(number, shifted_NV) for number in range(3))
        logits_NV = self.logits[part]
        torch.sub(logits_NV, logits_NV.amax(1, keepdim=True), out=teacher_NV)
        if self.targets_N is not None:
            swap(teacher_NV, self.targets_N[part])
        teacher_NV.mul_(1 / self.temperature)
        torch.mul(shifted_NV, 1 / self.temperature, out=student_NV)
        torch.sub(teacher_NV, student_NV, out=apart_NV)
        teacher_N1, student_N1 = (value_NV.exp_().sum(1, keepdim=True) for value_NV in (teacher_NV, student_NV))
        mean_N = torch.linalg.vecdot(teacher_NV, apart_NV) / teacher_N1[:, 0]
        losses_N = mean_N + (student_N1.log() - teacher_N1.log())[:, 0]
        student_NV.mul_(factor / student_N1).addcmul_(teacher_NV, -factor / teacher_N1)
        return losses_N, student_NV


@dataclass(slots=True)
class Largest:
    """The K largest probabilities and the rest as one: the KL is that of K + 1 things, of which p gives the rest all
    that it gives to other ids. Exact where K is the vocabulary; otherwise a lower bound, 0 where q = p."""

    ids_NK: Tensor
    logs_NK1: Tensor
    temperature: float
    buffers: Buffers

    def against(self, part: slice, shifted_NV: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """By the ids kept. Inside the rest the student's own proportions stay, which the gradient does not change."""
        student_NV = self.buffers.like(0, shifted_NV)
        torch.mul(shifted_NV, 1 / self.temperature, out=student_NV)
        ids_NK, logs_NK1 = self.ids_NK[part], self.logs_NK1[part].to(shifted_NV.dtype).log_softmax(1)
        teacher_NK1 = logs_NK1.exp()
        masses_NK1, sums_N1 = _masses(student_NV, ids_NK)
        losses_N = (teacher_NK1 * (logs_NK1 - masses_NK1.log() + sums_N1.log())).sum(1)
        pull_NK1 = factor * (masses_NK1 / sums_N1 - teacher_NK1)
        student_NV.mul_(pull_NK1[:, -1:] / masses_NK1[:, -1:])
        student_NV.scatter_(1, ids_NK, pull_NK1[:, :-1])
        return losses_N, student_NV


def _masses(logits_NV: Tensor, ids_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Numerators of the softmax of those ids and of the rest together (N, K + 1), and their sums (N, 1).

    `logits_NV`, the largest of each row being 0, becomes the numerators of the rest, 0 elsewhere: the rest is added up
    by itself, because 1 less the others would be nothing but rounding where it is small.
    """
    kept_NK = logits_NV.exp_().gather(1, ids_NK)
    rest_N1 = logits_NV.scatter_(1, ids_NK, 0.0).sum(1, keepdim=True)
    masses_NK1 = torch.cat([kept_NK, rest_N1], 1).clamp_min_(torch.finfo(torch.float32).tiny)
    return masses_NK1, masses_NK1.sum(1, keepdim=True)


def swap(logits_NV: Tensor, targets_N: Tensor) -> None:
    """Where the likeliest token is not the target, the two exchange their logits (Mix-CPT, arXiv 2407.10804)."""
    targets_N1 = targets_N[:, None]
    largest_N1 = logits_NV.argmax(1, keepdim=True)
    wanted_N1, most_N1 = logits_NV.gather(1, targets_N1), logits_NV.gather(1, largest_N1)
    logits_NV.scatter_(1, largest_N1, wanted_N1).scatter_(1, targets_N1, most_N1)


class Teacher:
    """A frozen model, loaded when it is first asked."""

    def __init__(self, load: Callable[[], PreTrainedModel], temperature: float, swaps: bool) -> None:
        self._load = load
        self._objective: PackedLoss | None = None
        self.temperature = temperature
        self.swaps = swaps
        self.buffers = Buffers()

    def whole(self, batch: Batch) -> Whole:
        """What it says of a batch."""
        if self._objective is None:
            # Whatever loading draws, the student's dropout goes on as if nothing had been loaded.
            with torch.random.fork_rng():
                self._objective = PackedLoss(self._load().eval().requires_grad_(False))
        device = self._objective.model.device
        targets_N = batch.targets_BT[batch.targets_BT >= 0].to(device) if self.swaps else None
        return Whole(self._objective.logits(batch), self.temperature, targets_N, self.buffers)

    @torch.no_grad()
    def largest(self, batch: Batch, count: int) -> tuple[Tensor, Tensor]:
        """Ids (N, K) of the largest probabilities, and log-probabilities (N, K + 1) of them and of the rest."""
        whole = self.whole(batch)
        targets = int((batch.targets_BT >= 0).sum())
        logits_NV = whole.logits[slice(0, targets)].clone()
        logits_NV -= logits_NV.amax(1, keepdim=True)
        if whole.targets_N is not None:
            swap(logits_NV, whole.targets_N)
        logits_NV /= self.temperature
        ids_NK = logits_NV.topk(min(count, logits_NV.shape[1]), 1).indices
        masses_NK1, sums_N1 = _masses(logits_NV, ids_NK)
        return ids_NK, (masses_NK1 / sums_N1).log()
