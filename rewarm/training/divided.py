"""What each of several processes holds in memory while it trains, by formula, and how the passes are chosen for that.

P parameters, L those of the largest layer, R those outside of layers (embedding, last norm, head), N processes. Divided
fully (sharding.py), each process holds in bytes:

- weights and two moments: 12 P / N; gradients: 4 P / N;
- gradients before they are sent: 4 P where a step has several passes, for they are sent after the last; otherwise those
  of one layer and of what lies outside, 4 (L + R);
- what is put together: the layer in use and the next one, and what lies outside: 4 (2 L + R);
- in bf16, the copies that products are made of, which the backward pass needs: 2 P;
- activations and logits of its own passes, as in one process; what retention holds of weights / N, a teacher whole.

While a model is loaded, and while it is scored, every process holds all its weights: 4 P. To save from, each copies its
part of weights and moments into the host's memory: 12 P / N.
"""

from __future__ import annotations

from math import ceil

import torch
from transformers import PreTrainedModel

from rewarm.models.decoder import decoder_layers
from rewarm.plan import Plan
from rewarm.training import activations
from rewarm.training.activations import Passes
from rewarm.training.machine import choose_precision


def divided(plan: Plan, model: PreTrainedModel, passes: Passes, processes: int) -> dict[str, int]:
    """Bytes of training in each of so many processes that divide the weights, by what holds them.

    `model` may lie on meta. UserError for a model without a list of layers.
    """
    parts = activations.needed(plan, model, passes)
    every = sum(parameter.numel() for parameter in model.parameters())
    _, layers = decoder_layers(model)
    each = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    layer, outside = max(each), every - sum(each)
    rows = plan.batch_tokens // plan.seq_len
    micro = min(passes.micro_batch_tokens // plan.seq_len, ceil(rows / processes))
    several = ceil(rows / micro) > processes
    state = {
        "weights and moments": 12 * every // processes,
        "gradients": 4 * every // processes + 4 * (every if several else layer + outside),
        "layers put together": 4 * (2 * layer + outside),
    }
    if choose_precision(plan.precision) == torch.bfloat16:
        state["copies in bf16"] = 2 * every
    held = {"retention": _held(plan, every, processes)} if "retention" in parts else {}
    return state | {name: parts[name] for name in ("activations", "logits")} | held


def _held(plan: Plan, parameters: int, processes: int) -> int:
    """Bytes of what a stage's retention holds: its copies are divided, but for a teacher, which is whole in each."""
    stages = [
        [getattr(one, "copies", 0.0) / (1 if getattr(one, "whole", False) else processes) for one in stage.retention]
        for stage in plan.stages
    ]
    return round(4 * max(map(sum, stages)) * parameters)


def copied(parameters: int, processes: int) -> int:
    """Bytes of the host's memory that each of the processes saves from, when they divide the weights."""
    return 12 * parameters // processes


def is_fitting(parts: dict[str, int], room: int) -> bool:
    """Whether so many bytes are planned to fit into `room`."""
    return sum(parts.values()) <= activations.USABLE * room


def spread(plan: Plan, model: PreTrainedModel, room: int, processes: int) -> tuple[bool, Passes]:
    """Whether weights are divided among the processes, and the passes that then fit into the `room` of each.

    As the plan says; with `auto` where even the smallest passes do not fit beside whole weights.
    """
    whole = activations.choose(plan, model, room)
    if processes == 1 or plan.sharding == "none":
        return False, whole
    if plan.sharding == "auto" and is_fitting(activations.needed(plan, model, whole), room):
        return False, whole
    gained = sum(activations.needed(plan, model, whole).values()) - sum(divided(plan, model, whole, processes).values())
    return True, activations.choose(plan, model, room + max(0, round(gained / activations.USABLE)))
