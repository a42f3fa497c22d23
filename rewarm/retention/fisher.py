"""Gradients of the causal loss on the side, and the mean of their squares: the diagonal of the Fisher information.

It is the empirical Fisher: the targets are the text's own, not drawn from the model. On text that the model sampled
itself (`self`) the two agree but for the temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.objectives.packed_loss import PackedLoss
from rewarm.objectives.probing import evaluating
from rewarm.retention.penalty import trainable
from rewarm.types import Batch

PASS_TOKENS = 4096
"""Rows are passed together up to this many tokens, what a training pass on a CPU takes."""


class LossGradients:
    """Gradients for the parameters that train, which leave no trace: not in `.grad`, the mode or random numbers.

    Passes are made in evaluation mode: a gradient that is kept or compared should not hold one draw of dropout.
    """

    def __init__(self, model: PreTrainedModel, precision: torch.dtype) -> None:
        self.objective = PackedLoss(model)
        self.parameters = trainable(model)
        self.precision = precision

    def of(self, batch: Batch, scale: float) -> list[Tensor | None]:
        """Of `scale` x the nats summed over the batch's targets, in the parameters' order; None where it has none."""
        with evaluating(self.objective.model):
            loss = self.loss(batch, scale)
            return list(torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True))

    def sum(self, batches: Sequence[Batch], scale: float) -> list[Tensor | None]:
        """Of `scale` x the nats summed over the targets of all batches, as `of` gives it for one."""
        total = self.of(batches[0], scale)
        for batch in batches[1:]:
            for place, more in enumerate(self.of(batch, scale)):
                held = total[place]
                total[place] = more if held is None else held if more is None else held + more
        return total

    def loss(self, batch: Batch, scale: float) -> Tensor:
        """`scale` x the nats summed over the batch's targets, with its gradient."""
        device = self.objective.model.device.type
        with torch.autocast(device, self.precision, enabled=self.precision != torch.float32):
            return self.objective.loss_sum(batch, scale)


def passes(rows: Sequence[Batch], most: int) -> list[Batch]:
    """Batches of one row each, put together up to `PASS_TOKENS` tokens, and `most` rows, a pass."""
    at_once = min(most, max(1, PASS_TOKENS // rows[0].tokens_BT.shape[1]))
    return [_stacked(rows[at : at + at_once]) for at in range(0, len(rows), at_once)]


def _stacked(rows: Sequence[Batch]) -> Batch:
    return Batch(
        torch.cat([row.tokens_BT for row in rows]),
        torch.cat([row.targets_BT for row in rows]),
        torch.cat([row.positions_BT for row in rows]),
        sum(row.num_targets for row in rows),
    )


def fisher(
    model: PreTrainedModel, samples: Iterable[Batch], precision: torch.dtype, done: Callable[[int], None]
) -> dict[str, Tensor]:
    """The mean over samples of the squared gradient of each sample's mean loss per target, by parameter.

    A sample is a batch of one row; one without targets, such as a piece of a long prompt, is none. The square of a
    batch's gradient is another quantity: gradients of different signs cancel in it, and it shrinks with the batch, so
    that a strength tuned for one batch size means nothing at another. `done` is told how many samples there were.
    """
    gradients = LossGradients(model, precision)
    sums = {name: torch.zeros_like(parameter) for name, parameter in gradients.parameters.items()}
    seen = 0
    for count, sample in enumerate(samples, start=1):
        if sample.num_targets:
            for total, gradient in zip(sums.values(), gradients.of(sample, 1 / sample.num_targets), strict=True):
                if gradient is not None:
                    total.addcmul_(gradient, gradient)
            seen += 1
        done(count)
    return {name: total.div_(max(1, seen)) for name, total in sums.items()}
