"""What the processes of a run do beside the first one: they train with it and score with it, on its order.

The first process prepares, asks, records and reports alone. When a leg is ready to train it orders the others to make
it ready, too, from what it has written; then all make the steps together. Watched documents are divided among them, and
their losses put together in order. The run's folder must be seen by all processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.methods import Method
from rewarm.plan import Plan
from rewarm.river.directory import RunDirectory
from rewarm.river.heads import losses_of
from rewarm.river.inputs import Inputs
from rewarm.training.world import World
from rewarm.types import UserError


class Beside(RunDirectory):
    """A run's folder for a process that writes nothing."""

    def write_json(self, name: str, value: Any) -> None:
        """Nothing."""

    def record(self, event: str, **facts: Any) -> None:
        """Nothing."""

    def control(self, word: str) -> Beside:
        """The directory of a control run, which is not written either."""
        return Beside(self.controls / word, self.prepared, is_control=True)


def check(plan: Plan, world: World) -> None:
    """UserError when several processes cannot train what the plan asks for, before any work."""
    if world.is_alone:
        return
    problems = []
    rows = plan.batch_tokens // plan.seq_len
    if rows < world.size:
        problems.append(
            f"batch_tokens {plan.batch_tokens} are {rows} rows of {plan.seq_len} tokens, too few for {world.size} "
            f"processes: give {world.size * plan.seq_len} or more, or start {rows} processes"
        )
    for stage in plan.stages:
        used = [("objective", stage.objective), ("adapter", stage.adapter)]
        used += [("retention", method) for method in stage.retention]
        problems += [
            f"stage '{stage.name}': {slot} '{method.method_name()}' {reason}"
            for slot, method in used
            if isinstance(method, Method) and (reason := method.alone(plan.sharding != "none"))
        ]
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))


@contextmanager
def attended(world: World) -> Iterator[None]:
    """Meanwhile the others, which hold the same model, take their share of what the first process scores."""
    world.attended = not world.is_alone
    try:
        yield
    finally:
        world.attended = False
    world.order(do="go on")


def attend(model: PreTrainedModel, inputs: Inputs, world: World, stop: Callable[[], bool]) -> None:
    """Scores shares of documents with a model until the first process says to go on; for the others."""
    while (order := world.next_order(stop))["do"] == "score":
        shared_losses(model, inputs, order["corpus"], world, lambda tokens: None)
    if order["do"] != "go on":
        raise RuntimeError(f"process {world.rank} was scoring when it was ordered to {order['do']}: a defect")


def shared_losses(
    model: PreTrainedModel, inputs: Inputs, corpus: str, world: World, done: Callable[[int], None]
) -> DocumentLosses:
    """Losses of a watched corpus's documents, in their order; each process scores its share of them if all attend."""
    store, documents = inputs.stores[corpus], inputs.watch_documents[corpus]
    if world.is_alone or (world.is_first and not world.attended):
        return losses_of(inputs.plan, inputs.tokenizer, model, store, documents, done)
    if world.is_first:
        world.order(do="score", corpus=corpus)
    own = slice(world.rank, None, world.size)
    found_3D = torch.zeros(3, len(documents), dtype=torch.float64)
    if len(documents[own]):
        losses = losses_of(inputs.plan, inputs.tokenizer, model, store, documents[own], done)
        found_3D[:, own] = torch.from_numpy(np.stack([losses.nats_D, losses.bytes_D, losses.tokens_D]))
    # Every place is filled by one process, and adding zeros changes nothing.
    nats_D, bytes_D, tokens_D = world.total(found_3D).numpy()
    return DocumentLosses(nats_D=nats_D, bytes_D=bytes_D.astype(np.int64), tokens_D=tokens_D.astype(np.int64))


def share_of_room(room: int, world: World) -> int:
    """Bytes that this process may fill of its device; processes on one CPU divide its memory."""
    return room if torch.cuda.is_available() else room // world.local_size


def micro_rows(most: int, per_step: int, world: World) -> int:
    """Rows of a micro-batch: at most `most`, and few enough that every process has one in a step of `per_step` rows.

    Rows that do not divide evenly leave some processes one pass less, in which they wait.
    """
    return min(most, -(-per_step // world.size))
