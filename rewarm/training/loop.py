"""The only training loop: one leg (a stage, or the branch annealed for its release) from its start to its end.

The loop knows protocols only: a schedule's rate, a loader's batches, callables that are due every so many steps. Of
several processes all make the steps together, and the first one writes and tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.objectives import Loss, Rows
from rewarm.training import activations, checkpoint, compiling
from rewarm.training.coming import Coming
from rewarm.training.guard import Guard
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.meter import Meter
from rewarm.training.optimizer import Optimizer, RateProbe
from rewarm.training.replicas import Replicas
from rewarm.training.world import current
from rewarm.types import Batch

RATE_TOLERANCE = 1e-3


class StopRequest(Protocol):
    """Says whether the run was asked to stop (a signal arrived)."""

    def __call__(self) -> bool:
        """True once the run should save and stop."""


@dataclass(slots=True)
class Due:
    """Something to do every `every` steps, but not close to the end: it is given the model and the steps done."""

    every: int
    action: Callable[[PreTrainedModel, int], None]

    def comes(self, step: int, steps: int) -> bool:
        """Whether its turn is after `step` of `steps` steps."""
        return step % self.every == 0 and steps - step > self.every // 2


@dataclass(slots=True)
class Outcome:
    """How a leg ended: steps done, seconds of training, and whether it was stopped before its end.

    `resumed` is the step it went on from, if it did, and `same_batch` whether its first batch was the one to come: None
    where that could not be told. `skipped` has step, loss and gradient norm of every update that was left out.
    """

    steps: int
    seconds: float
    stopped: bool
    notes: list[str] = field(default_factory=list)
    resumed: int | None = None
    same_batch: bool | None = None
    skipped: list[tuple[int, float, float]] = field(default_factory=list)


def train(
    model: PreTrainedModel,
    optimizer: Optimizer,
    leg: Leg,
    due: list[Due],
    stop: StopRequest,
    tell: Callable[[int, dict[str, Any]], None],
    keepers: Keepers | None = None,
) -> Outcome:
    """Trains a leg to its end or until `stop()`; resumes exactly from its newest good checkpoint."""
    outcome, spread = Outcome(0, 0.0, False), leg.spread or Replicas(model, current())
    keepers = (keepers or Keepers({})).joined(spread)
    newest = spread.newest(leg.folder, leg.key, outcome.notes)
    torch.manual_seed(leg.seed)
    guard = Guard(leg.name, model.device, leg.skips, leg.rows.documents)
    step, pending = spread.restore(newest, optimizer, keepers, guard) if newest else _begun(optimizer, keepers)
    journal = spread.journal(leg.folder / "journal.jsonl", step)
    objective, meter = _objective(model, leg, step, outcome.notes, spread), Meter(leg, journal, tell, pending)
    saver = spread.saver(leg.folder, leg.key, leg.save_total_limit, journal, outcome.notes)
    start, coming = step, _coming(leg, step, newest, outcome)

    def save(current: list[Batch] | None = None) -> None:
        guard.check()
        state = spread.state(optimizer, keepers, guard)
        meter.pause(partial(saver.save, step, state, meter.pending(), coming.following(current)))

    with saver, activations.explained(leg.name):
        for batches in coming:
            rate = leg.schedule.rate(step, leg.rows.steps, leg.peak, leg.past)
            with _saved_if_too_large(optimizer, partial(save, batches) if step > start and spread.is_alone else None):
                loss = _accumulate(objective, keepers, batches, leg, spread, step)
                keepers.gradients(step)
            norm = spread.clip(optimizer)
            guard.watch(step, loss, norm)
            _update(leg, optimizer, keepers, guard, step, rate, meter.is_logged(step))
            step += 1
            meter.add(step, guard.counted(loss), norm, rate, batches, keepers, objective)
            saver.check()
            for item in (one for one in due if one.comes(step, leg.rows.steps)):
                guard.check()
                meter.pause(partial(spread.do, item.action, model, step))
                model.train()
            outcome.stopped = spread.world.any(stop()) and step < leg.rows.steps
            if outcome.stopped or leg.saves_after(step):
                save()
            if outcome.stopped:
                break
        meter.clock()
    outcome.steps, outcome.seconds, outcome.skipped = step, meter.seconds, guard.skipped()
    return outcome


def _begun(optimizer: Optimizer, keepers: Keepers) -> tuple[int, list[float]]:
    """The step of a leg that begins, and the losses not yet logged."""
    optimizer.begin(keepers.moments())
    return 0, []


def _objective(model: PreTrainedModel, leg: Leg, step: int, notes: list[str], spread: Replicas) -> Loss:
    with spread.whole():
        objective = leg.loss(model)
    if not spread.is_alone:
        objective.join(spread.sum)
    if leg.checkpointed:
        activations.checkpoint_layers(model)
    rows = leg.rows
    tokens = rows.steps * rows.step_tokens
    if step < rows.steps and compiling.pays(leg.compile, model, tokens, rows.seq_len, leg.precision):
        compiling.try_compiling(objective, rows.batches(0)[0], leg.precision, leg.compile, notes)
    model.train()
    return objective


@contextmanager
def _saved_if_too_large(optimizer: Optimizer, save: Callable[[], None] | None) -> Iterator[None]:
    """Saves the state before a step for whose passes there is no memory, so that no step is lost with it."""
    random = checkpoint.random_state()
    try:
        yield
    except RuntimeError as error:
        if save is not None and activations.is_out_of_memory(error):
            optimizer.adamw.zero_grad(set_to_none=True)
            checkpoint.set_random_state(random)
            save()
        raise


def _coming(leg: Leg, step: int, newest: Path | None, outcome: Outcome) -> Coming:
    """The batches from `step` on; when the leg goes on from a checkpoint, the first is held against what it says."""
    coming = Coming(_from(leg.rows, step))
    if newest is not None:
        outcome.resumed = step
        outcome.same_batch = coming.check(checkpoint.following(newest), f"{leg.name}, step {step}")
    return coming


def _from(rows: Rows, step: int) -> Iterator[list[Batch]]:
    return rows.iterate(step) if step < rows.steps else iter(())


def _accumulate(
    objective: Loss, keepers: Keepers, batches: list[Batch], leg: Leg, spread: Replicas, step: int
) -> Tensor:
    """Gradients of the mean loss over all targets of the step: sum over them / count, never a mean of means.

    Of several processes each makes its share of the passes; the loss is that of all.

    What comes back is the objective's loss alone, so that the losses of runs with and without further terms compare.
    """
    num_targets = sum(batch.num_targets for batch in batches)
    objective.begin_step()
    spread.world.seed(leg.seed, step)
    device, precision = objective.model.device, leg.precision
    total = torch.zeros((), dtype=torch.float64, device=device)
    scale = 1 / max(1, num_targets)
    for batch, counts in spread.passes(batches):
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            terms = keepers.terms(batch) if counts else ()
            loss = objective.loss_sum(batch, scale if counts else 0.0, terms)
        loss.backward()
        if not counts:
            continue
        total += loss.detach() - scale * sum(term.value for term in terms)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            keepers.losses(batch, scale)
    return spread.world.total(total)


def _update(
    leg: Leg, optimizer: Optimizer, keepers: Keepers, guard: Guard, step: int, rate: float, is_logged: bool
) -> None:
    """Makes a step's update, unless the guard skips it; when it is logged, the weights are looked at for what rate they
    moved at."""
    if is_logged:
        guard.check()
    pace = keepers.pace(step)
    probe = optimizer.probe(pace) if is_logged and not guard.skip else None
    keepers.before_update(step)
    optimizer.step(rate, guard.skip, pace)
    if probe is not None:
        _check_rate(leg, step, rate, probe)
    keepers.update(step, rate)


def _check_rate(leg: Leg, step: int, planned: float, probe: RateProbe) -> None:
    """The lie detector: the weights must have moved as the schedule says, as far as their rounding lets one tell."""
    applied = probe.measured()
    if not abs(applied - planned) <= RATE_TOLERANCE * planned + probe.rounding():
        raise RuntimeError(
            f"{leg.name}: step {step} was to be made at learning rate {planned:.6g}, but the weights moved as at "
            f"{applied:.6g}. The schedule is not what trains this model; this is a defect, please report it"
        )
