"""How long a plan would take on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from rewarm.models.load import HEADS
from rewarm.objectives import Loss
from rewarm.objectives.masked_loss import MaskedLoss
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.objectives.span_loss import SpanLoss
from rewarm.plan import Plan
from rewarm.river.costs import Work
from rewarm.river.legs import LegPlan
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.spans import Spans, lay
from rewarm.training import activations
from rewarm.training.machine import (
    choose_precision,
    flops_per_token,
    matmul_rate,
    on_device,
)
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import Batch

TIMED_PARAMETERS = 300_000_000
TIMED_SECONDS = 0.25
"""A micro-batch that would take longer is timed with fewer rows, or a beginning of one: two rows tell a token's time to
a few percent, and `rewarm check` is to answer at once."""
FEWEST_TOKENS = 64
LIMIT_SECONDS = 0.05
ASSUMED_MATMUL_SHARE = 0.4
SCORING_SHARE = 1 / 3
"""A forward pass is a third of the work of a training step (Kaplan et al., arXiv 2001.08361)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of one token's forward and backward pass, and of one optimizer step; `how` says where they come from."""

    token: float
    update: float
    how: str


def seconds(
    work: Work, pace: Pace, left: Sequence[tuple[str, Sequence[LegPlan]]], now: Mapping[str, int]
) -> dict[str, float]:
    """Seconds of preparing, training and scoring.

    `left` are the legs to train, by run; `now` says how many models that are there already (the base is one) are to be
    scored on each watched corpus.
    """
    plan = work.plan
    # Processes on CPUs share the cores that one process has to itself; what they send each other is not counted.
    at_once = work.processes if torch.cuda.is_available() else 1
    legs = [leg for _, found in left for leg in found]
    tokens = sum(leg.tokens(plan.batch_tokens) for leg in legs)
    watched = _watch_tokens(work)
    scored = sum(scorings(plan, leg) for leg in legs) * sum(watched.values())
    scored += sum(models * watched[corpus] for corpus, models in now.items())
    return {
        "prepare": sum(corpus.seconds for corpus in work.corpora),
        "train": tokens * pace.token / at_once + sum(leg.steps for leg in legs) * pace.update,
        "score": scored * pace.token * SCORING_SHARE / at_once,
    }


def scorings(plan: Plan, leg: LegPlan) -> int:
    """How often the watch-list is scored for a leg: every `eval_every` tokens, not close to the end, and at the end."""
    if not plan.watch:
        return 0
    every = plan.eval_every if plan.eval_every is not None else leg.tokens(plan.batch_tokens) // 4
    if every == 0:
        return 1
    steps = max(1, round(every / plan.batch_tokens))
    return 1 + sum(leg.steps - step > steps // 2 for step in range(steps, leg.steps + 1, steps))


def _watch_tokens(work: Work) -> dict[str, int]:
    """Tokens to score of each watched corpus."""
    held = {corpus.name: corpus.held_out_tokens for corpus in work.corpora}
    caps = {watch.corpus: watch.tokens or work.plan.eval_tokens for watch in work.plan.watch}
    return {name: min(cap, held[name]) for name, cap in caps.items()}


def pace(work: Work) -> Pace:
    """Measured on the model's own class if it is small, otherwise from its FLOPs and the rate of a matrix product."""
    plan, parameters = work.plan, work.parameters
    precision = choose_precision(plan.precision)
    width = int(getattr(work.model.config, "hidden_size", 256))
    passes = work.passes
    limit = matmul_rate(passes.micro_batch_tokens, width, precision, LIMIT_SECONDS)
    token = flops_per_token(work.model, plan.seq_len) / (limit * ASSUMED_MATMUL_SHARE)
    if passes.checkpointed:
        token *= 1 + SCORING_SHARE  # one more forward pass
    if parameters > TIMED_PARAMETERS:
        share = f"{ASSUMED_MATMUL_SHARE:.0%}"
        return Pace(token, 0.0, f"from FLOPs, at an assumed {share} of this machine's rate of matrix products")
    most = min(passes.micro_batch_tokens, max(FEWEST_TOKENS, int(TIMED_SECONDS / token)))
    rows, length = max(1, most // plan.seq_len), min(most, plan.seq_len)
    made = on_device(HEADS[plan.head][0].from_config(work.model.config, dtype=torch.float32, trust_remote_code=False))
    if passes.checkpointed:
        activations.checkpoint_layers(made)
    return _timed(plan, made, (rows, length), precision)


def _timed(plan: Plan, model: PreTrainedModel, shape: tuple[int, int], precision: torch.dtype) -> Pace:
    rows, length = shape
    objective, batch = _sample(plan, model, (rows, length))
    options = AdamWOptions(plan.weight_decay, plan.adam_betas, plan.adam_epsilon, plan.max_grad_norm)
    optimizer = Optimizer(model, options)
    model.train()
    passes, updates = [], []
    # The first round pays for memory and caches that the second finds ready.
    for _ in range(2):
        start = _now(model)
        with torch.autocast(model.device.type, precision, enabled=precision != torch.float32):
            loss = objective.loss_sum(batch)
        loss.backward()
        middle = _now(model)
        optimizer.clip()
        optimizer.step(0.0)
        passes.append(middle - start)
        updates.append(_now(model) - middle)
    return Pace(min(passes) / (rows * length), min(updates), f"{rows} x {length} tokens timed on this machine")


def _sample(plan: Plan, model: PreTrainedModel, shape: tuple[int, int]) -> tuple[Loss, Batch]:
    """The loss of the plan's kind of model, and rows such as it reads."""
    rows, length = shape
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    tokens_BT = (torch.arange(rows * length) % vocabulary).view(rows, length)
    if plan.head == "seq2seq":
        spans = Spans(tuple(range(length)), (), vocabulary - 1)
        made = [spans.example(ids_T, row) for row, ids_T in enumerate(tokens_BT.numpy())]
        return SpanLoss(model), lay([[one] for one in made if one is not None])
    positions_BT = torch.arange(length).repeat(rows, 1)
    is_masked = plan.head == "masked"
    targets_BT = torch.where(positions_BT % 7 == 0, tokens_BT, NO_TARGET) if is_masked else tokens_BT
    batch = Batch(tokens_BT, targets_BT, positions_BT, int((targets_BT != NO_TARGET).sum()))
    return MaskedLoss(model) if is_masked else PackedLoss(model), batch


def _now(model: PreTrainedModel) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
