"""What the other processes of a run do: wait for the first one's orders, and train and score with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel

from rewarm.plan import Plan
from rewarm.river import sharing, stale
from rewarm.river.beside import Beside, attend
from rewarm.river.controls import control_plans
from rewarm.river.inputs import Inputs, read_inputs
from rewarm.river.legs import last_rates, legs
from rewarm.river.own_text import read_samples
from rewarm.river.pinning import pinned
from rewarm.river.run import of_control
from rewarm.river.starts import start_model
from rewarm.river.train import Hooks, due_of, ready
from rewarm.training.loop import train
from rewarm.training.world import World
from rewarm.types import Stopped


def follow(plan: Plan, world: World, stop: Callable[[], bool]) -> None:
    """Does what the first process of a run orders. It ends by Ended, with the exit code of the first process."""
    while True:
        order = world.next_order(stop)
        if order["do"] != "train":
            raise RuntimeError(f"process {world.rank} was waiting when it was ordered to {order['do']}: a defect")
        _train(plan, world, order, stop)


def _train(plan: Plan, world: World, order: dict[str, Any], stop: Callable[[], bool]) -> None:
    """One leg: what the first process has prepared for it lies on the disk."""
    inputs, run = _inputs(plan, order["run"])
    planned = legs(inputs.plan, inputs.trainable_tokens, run.steps_made())
    leg = next(leg for leg in planned if leg.name == order["leg"])
    read_samples(inputs, run, planned)
    stale.find_all(inputs, [(inputs.plan, run, planned)])
    # Not `stop`: it counts from the first step on, in all processes at once.
    made = ready(inputs, run, planned, leg, last_rates(planned)[leg.start], Hooks())
    shards = sharing.take_apart(made, world) if order["sharded"] else None

    def action(model: PreTrainedModel, step: int) -> None:
        attend(model, inputs, world, stop)

    outcome = train(made.model, made.optimizer, made.leg, due_of(inputs, leg, action), stop, _silent, made.keepers)
    if outcome.stopped:
        raise Stopped(f"stopped at step {outcome.steps} of {leg.name}")
    made.keepers.finish()
    if shards is not None:
        sharing.put_together(made, shards, lambda: start_model(inputs, run, planned, leg))
    if leg.adapter is not None:
        merge: Any = leg.adapter
        merge.merge(made.model)
    attend(made.model, inputs, world, stop)


def _inputs(plan: Plan, control: str) -> tuple[Inputs, Beside]:
    """The inputs of the run, or of one of its controls, and its folder."""
    run = Beside.of(plan)
    assert isinstance(run, Beside)
    plan = pinned(plan, run)  # the first process has kept the commit before its first order
    inputs = read_inputs(plan, run)
    if not control:
        return inputs, run
    own = run.control(control)
    return of_control(control_plans(plan, run)[control], own, run, inputs), own


def _silent(step: int, entry: dict[str, Any]) -> None:
    pass
