"""The loss of pairs of answers, and the log-probabilities of answers.

Shapes: P pairs, 2 their answers (chosen, rejected), N targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from rewarm.objectives.head_terms import HeadTerm
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.pairs import PairBatch
from rewarm.types import Batch


def log_probabilities(packed: PackedLoss, batch: PairBatch) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the answers (P, 2) in nats, in fp64 with their gradients, and their tokens (P, 2)."""
    losses_N = packed.target_losses(batch)
    owners_T = (batch.positions_BT[0] == 0).cumsum(0) - 1
    owners_N = owners_T[batch.targets_BT[0] != NO_TARGET]
    tokens_P2 = torch.bincount(owners_N, minlength=2 * batch.num_targets).view(-1, 2).to(losses_N.device)
    sums = torch.zeros(2 * batch.num_targets, dtype=torch.float64, device=losses_N.device)
    # In fp64: a difference of sums over long answers is what is learned from.
    return -sums.index_add(0, owners_N.to(losses_N.device), losses_N.double()).view(-1, 2), tokens_P2


class PairLoss:
    """-log sigmoid of beta x how far the margin of pairs has moved from the reference's, summed over pairs."""

    def __init__(self, model: PreTrainedModel, beta: float, sft: float = 0.0, label_smoothing: float = 0.0) -> None:
        self.model = model
        self.beta, self.sft, self.label_smoothing = beta, sft, label_smoothing
        self._packed = PackedLoss(model)
        self._total: Callable[[Tensor], Tensor] | None = None
        self.begin_step()

    def join(self, total: Callable[[Tensor], Tensor]) -> None:
        """Readings are those of the pairs of all processes."""
        self._total = total

    def begin_step(self) -> None:
        """Readings begin anew."""
        # Pairs; of them those that moved the right way, margins, log-probabilities of chosen and of rejected answers.
        self._sums = torch.zeros(5, dtype=torch.float64, device=self.model.device)

    def loss_sum(self, batch: Batch, scale: float = 1.0, terms: Sequence[HeadTerm] = ()) -> Tensor:
        """`scale` x the loss summed over the batch's pairs, a scalar with its gradient. ValueError for other batches.

        Terms are never asked for: a plan that has some is refused.
        """
        if not isinstance(batch, PairBatch) or batch.reference_P2 is None:
            raise ValueError("pairs need to know what the reference gives")
        found_P2, tokens_P2 = log_probabilities(self._packed, batch)
        moved_P2 = found_P2 - batch.reference_P2.to(found_P2.device)
        margins_P = self.beta * (moved_P2[:, 0] - moved_P2[:, 1])
        losses_P = -(1 - self.label_smoothing) * logsigmoid(margins_P)
        if self.label_smoothing:
            losses_P = losses_P - self.label_smoothing * logsigmoid(-margins_P)
        if self.sft:
            losses_P = losses_P - self.sft * found_P2[:, 0] / tokens_P2[:, 0]
        with torch.no_grad():
            right = (margins_P > 0).sum(dtype=torch.float64)
            pairs = torch.full_like(right, batch.num_targets)
            if scale:  # otherwise the pass only keeps other processes company
                self._sums += torch.stack([pairs, right, margins_P.sum(), *found_P2.sum(0)])
        return (scale * losses_P.sum()).float()

    def readings(self) -> dict[str, float]:
        """Of the step's pairs: the share whose margin is above the reference's, the mean margin (beta included), and
        mean log-probabilities of chosen and rejected answers; the chosen one may fall while the margin rises."""
        found = self._sums.clone()
        pairs, *sums = (found if self._total is None else self._total(found)).tolist()
        names = ("accuracy", "margin", "chosen", "rejected")
        return {"pairs": pairs, **{name: value / max(1.0, pairs) for name, value in zip(names, sums, strict=True)}}

    def compile(self) -> None:
        """Not to be had: rows of pairs differ in length."""
        raise NotImplementedError("a preference objective is not compiled")

    def run_eagerly(self) -> None:
        """It always does."""
