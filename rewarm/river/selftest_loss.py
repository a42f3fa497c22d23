"""Whether a plan's loss is what it is said to be: of each document alone, and the same however a step is cut.

In fp32 and without dropout, whatever the plan says: what is looked for is no rounding. Shapes: B rows, T positions.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from rewarm.objectives import Loss, Objective
from rewarm.objectives.masked_loss import MaskedLoss
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.river import stale
from rewarm.river.checks import Check
from rewarm.river.leg_rows import beginning, objective_of
from rewarm.river.own_text import add_samples
from rewarm.river.selftest import Bench
from rewarm.river.starts import start_model
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch

ROWS = 8
SAME_LOSS = 1e-5
SAME_GRADIENT = 1e-4
"""Relative: the order of sums in fp32 makes 1e-7, and a tiny, hardly trained model that sees across documents 1e-4."""


def loss(bench: Bench, steps: int) -> list[Check]:
    """The first rows of the first leg under the model it starts from; `steps` is not asked."""
    leg = bench.planned[0]
    bench.hooks.tell_or_stop(f"load the start of {leg.name}", 0, None, "")
    model = start_model(bench.inputs, bench.run, bench.planned, leg)
    add_samples(bench.inputs, bench.run, leg, model, bench.hooks.tell_or_stop)
    stale.find(bench.inputs, bench.run, [leg], bench.hooks.tell_or_stop)
    begin = beginning(bench.inputs, bench.run, leg, Counter(), lambda: model)
    begin = dataclasses.replace(begin, source_SR=begin.source_SR[:1, :ROWS], precision=torch.float32)
    objective = objective_of(leg)
    whole, cut = (
        objective.rows(dataclasses.replace(begin, micro_rows=rows)).batches(0) for rows in (begin.source_SR.shape[1], 1)
    )
    made = objective.loss(model.eval())
    bench.hooks.tell_or_stop(f"read rows of {leg.name}", 0, None, "")
    return [*_alone(leg.name, objective, made, whole), *_gradients(leg.name, made, whole, cut)]


def _alone(name: str, objective: Objective, made: Loss, batches: list[Batch]) -> Iterator[Check]:
    """The packed loss of each document against what transformers' own model says when it reads the document alone."""
    if not isinstance(made, PackedLoss | MaskedLoss) or any(type(batch) is not Batch for batch in batches):
        yield Check.skipped(name, "documents alone", f"a {objective.method_name()} loss is not one of single documents")
        return
    packed, alone = [], []
    for batch in batches:
        losses_BT = made.token_losses(batch).double().cpu()
        for row in range(len(losses_BT)):
            for part in _documents(batch.positions_BT[row]):
                targets_T = batch.targets_BT[row, part]
                if bool((targets_T != NO_TARGET).any()):
                    packed.append(float(losses_BT[row, part].sum()))
                    alone.append(_plain(made.model, batch.tokens_BT[row, part], targets_T))
    count = sum(batch.num_targets for batch in batches)
    worst = max(abs(one - other) / max(1.0, abs(other)) for one, other in zip(packed, alone, strict=True))
    yield Check.within(name, f"loss of {len(packed)} documents, packed and alone: largest distance", worst, SAME_LOSS)
    trained = sum(float(made.loss_sum(batch, 1 / count).detach()) for batch in batches)
    mean = sum(alone) / count
    right = abs(trained - mean) <= SAME_LOSS * abs(mean)
    expected = f"{mean:.6f} ± {SAME_LOSS * mean:.6f}"
    yield Check(name, "loss that trains, mean over targets", expected, f"{trained:.6f}", right)


def _documents(positions_T: Tensor) -> Iterator[slice]:
    """The stretches of a row that are one document each."""
    starts = [*(positions_T == 0).nonzero()[:, 0].tolist(), len(positions_T)]
    yield from (slice(start, end) for start, end in pairwise(starts))


@torch.no_grad()
def _plain(model: PreTrainedModel, tokens_T: Tensor, targets_T: Tensor) -> float:
    """Nats of a document's targets, from the model as transformers runs it, without anything beside the document."""
    logits_BTV = model(input_ids=tokens_T[None].to(model.device), use_cache=False).logits
    wanted_T = targets_T.to(model.device)
    return float(cross_entropy(logits_BTV[0].float(), wanted_T, ignore_index=NO_TARGET, reduction="sum"))


def _gradients(name: str, made: Loss, whole: list[Batch], cut: list[Batch]) -> Iterator[Check]:
    """The gradient of a step from few micro-batches and from many."""
    if len(whole) == len(cut):
        yield Check.skipped(name, "gradient", "these rows cannot be cut into smaller micro-batches")
        return
    first, second = _gradient(made, whole), _gradient(made, cut)
    distance = float(sum((second[key] - first[key]).double().square().sum() for key in first)) ** 0.5
    length = float(sum(value.double().square().sum() for value in first.values())) ** 0.5
    what = f"gradient of {len(whole)} and of {len(cut)} micro-batches: relative distance"
    yield Check.within(name, what, distance / (length or 1.0), SAME_GRADIENT)


def _gradient(made: Loss, batches: list[Batch]) -> dict[str, Tensor]:
    """The gradient of the mean loss over all targets of the step, by parameter."""
    made.model.zero_grad(set_to_none=True)
    made.begin_step()
    scale = 1 / max(1, sum(batch.num_targets for batch in batches))
    for batch in batches:
        made.loss_sum(batch, scale).backward()
    found = {key: one.grad.detach().clone() for key, one in made.model.named_parameters() if one.grad is not None}
    made.model.zero_grad(set_to_none=True)
    return found
