"""Takes what a leg trains with apart, so that each process holds a part of it, and puts the model together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from rewarm.plan import Plan
from rewarm.river.beside import share_of_room
from rewarm.training import activations
from rewarm.training.activations import Passes
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.optimizer import Optimizer
from rewarm.training.sharding import Shards, divide
from rewarm.training.world import World


class Made(Protocol):
    """What is ready to train (`rewarm.river.train.Ready`)."""

    model: PreTrainedModel
    optimizer: Optimizer
    leg: Leg
    keepers: Keepers


def is_sharded(plan: Plan, started: Mapping[str, Any] | None, model: PreTrainedModel, world: World) -> bool:
    """Whether weights, gradients and moments are divided among the processes: as the plan says, or where they would not
    fit whole beside passes as the ledger says they are `started`."""
    if world.is_alone or plan.sharding == "none" or started is None:
        return False
    passes = Passes(started["micro_batch_tokens"], started["checkpointed"])
    needed = sum(activations.needed(plan, model, passes).values())
    room = share_of_room(activations.room_for(model), world)
    return plan.sharding == "full" or needed > activations.USABLE * room


def take_apart(made: Made, world: World) -> Shards:
    """From now on each process trains its part of a leg, in place. What was inherited is divided, too."""
    whole = made.optimizer
    shards = Shards(made.model, world)
    made.optimizer = Optimizer(shards, whole.options)
    made.optimizer.load(shards.inherited(whole))
    divide(made.keepers, shards)
    # Compiled layers that are put together anew for each pass were not tried.
    made.leg = dataclasses.replace(made.leg, spread=shards, compile=False)
    return shards


def put_together(made: Made, shards: Shards, load: Callable[[], PreTrainedModel]) -> None:
    """Gives every process the whole model with what was trained, in place. `load` makes it as the leg started."""
    trained = shards.weights()
    made.model = load()
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            parameter.requires_grad_(name in trained)
            if name in trained:
                parameter.copy_(trained[name])
