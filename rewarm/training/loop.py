"""The only training loop: one leg (a stage, or the branch annealed for its release) from its start to its end.

The loop knows protocols only: a schedule's rate, a loader's batches, callables that are due every so many steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.objectives.causal import Objective
from rewarm.schedules import Schedule
from rewarm.tokens.loader import StageRows
from rewarm.training import activations, checkpoint, compiling
from rewarm.training.journal import Journal
from rewarm.training.optimizer import Optimizer, RateProbe
from rewarm.training.saving import Saver
from rewarm.types import Batch, StreamState

RATE_TOLERANCE = 1e-3


class StopRequest(Protocol):
    """Says whether the run was asked to stop (a signal arrived)."""

    def __call__(self) -> bool:
        """True once the run should save and stop."""


@dataclass(frozen=True, slots=True)
class Leg:
    """What one leg trains on and how: everything the loop reads. `key` guards resumption against changed inputs.

    `seed` starts the random numbers of dropout, so that a leg does not depend on what its process did before it.
    `checkpointed` layers compute their activations again for the backward pass, which saves memory.
    """

    name: str
    folder: Path
    rows: StageRows
    schedule: Schedule
    peak: float
    past: StreamState
    key: str
    precision: torch.dtype
    seed: int = 0
    log_every: int = 10
    save_steps: int | None = None
    save_total_limit: int = 2
    compile: compiling.Asked = False
    checkpointed: bool = False


@dataclass(slots=True)
class Due:
    """Something to do every `every` steps, but not close to the end: it is given the model and the steps done."""

    every: int
    action: Callable[[PreTrainedModel, int], None]


@dataclass(slots=True)
class Outcome:
    """How a leg ended: steps done, seconds of training, and whether it was stopped before its end."""

    steps: int
    seconds: float
    stopped: bool
    notes: list[str] = field(default_factory=list)


class NonFinite(RuntimeError):
    """A loss or gradient was infinite or not a number; the update was not made. Exit code 1."""


def train(
    model: PreTrainedModel,
    optimizer: Optimizer,
    leg: Leg,
    due: list[Due],
    stop: StopRequest,
    tell: Callable[[int, dict[str, Any]], None],
) -> Outcome:
    """Trains a leg to its end or until `stop()`; resumes exactly from its newest good checkpoint."""
    outcome = Outcome(0, 0.0, False)
    newest = checkpoint.latest(leg.folder, leg.key, outcome.notes)
    torch.manual_seed(leg.seed)
    step, pending = checkpoint.restore(newest, model, optimizer) if newest is not None else (0, [])
    journal = Journal(leg.folder / "journal.jsonl", step)
    objective = _objective(model, leg, step, outcome.notes)
    meter, guard = _Meter(leg, journal, tell, pending), _Guard(leg.name, model.device)
    model.train()
    saver = Saver(leg.folder, leg.key, leg.save_total_limit, journal, outcome.notes)
    start = step

    def save() -> None:
        guard.check()
        meter.pause(partial(saver.save, step, model, optimizer, meter.pending()))

    with saver, activations.explained(leg.name):
        for batches in _from(leg.rows, step):
            rate = leg.schedule.rate(step, leg.rows.steps, leg.peak, leg.past)
            with _saved_if_too_large(optimizer, save if step > start else None):
                loss, norm = _accumulate(objective, optimizer, batches, leg.precision)
            guard.watch(step, loss, norm)
            _update(leg, optimizer, guard, step, rate, meter.is_logged(step))
            step += 1
            meter.add(step, loss, norm, rate)
            saver.check()
            for item in due:
                if step % item.every == 0 and leg.rows.steps - step > item.every // 2:
                    guard.check()
                    meter.pause(partial(item.action, model, step))
                    model.train()
            outcome.stopped = stop() and step < leg.rows.steps
            if outcome.stopped or step == leg.rows.steps or (leg.save_steps and step % leg.save_steps == 0):
                save()
            if outcome.stopped:
                break
        meter.clock()
    outcome.steps, outcome.seconds = step, meter.seconds
    return outcome


def _objective(model: PreTrainedModel, leg: Leg, step: int, notes: list[str]) -> Objective:
    objective = Objective(model)
    if leg.checkpointed:
        activations.checkpoint_layers(model)
    rows = leg.rows
    tokens = rows.source_SR.size * rows.seq_len
    if step < rows.steps and compiling.pays(leg.compile, model, tokens, rows.seq_len, leg.precision):
        compiling.try_compiling(objective, rows.batches(0)[0], leg.precision, leg.compile, notes)
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


def _from(rows: StageRows, step: int) -> Iterator[list[Batch]]:
    return rows.iterate(step) if step < rows.steps else iter(())


def _accumulate(
    objective: Objective, optimizer: Optimizer, batches: list[Batch], precision: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Gradients of the mean loss over all targets of the step: sum over tokens / count, never a mean of means."""
    num_targets = sum(batch.num_targets for batch in batches)
    device = objective.model.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for batch in batches:
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            loss = objective.loss_sum(batch, 1 / max(1, num_targets))
        loss.backward()
        total += loss.detach()
    return total, optimizer.clip()


def _update(leg: Leg, optimizer: Optimizer, guard: _Guard, step: int, rate: float, is_logged: bool) -> None:
    """Makes a step's update; when it is logged, the weights are looked at for what rate they moved at."""
    if is_logged:
        guard.check()
    probe = optimizer.probe() if is_logged else None
    optimizer.step(rate, guard.bad)
    if probe is not None:
        _check_rate(leg, step, rate, probe)


class _Guard:
    """Notices the first step whose loss or gradient is not finite, without making the device wait to be asked.

    From that step on `bad` is 1 and keeps the optimizer from every update, until `check` looks and raises. On a CPU,
    where asking costs nothing, that is at once.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self.bad = torch.zeros((), device=device)
        self._first = torch.zeros(3, dtype=torch.float64, device=device)

    def watch(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """Takes note of a step (counted from 0) before its update."""
        wrong = ~(torch.isfinite(norm) & torch.isfinite(loss))
        now = torch.stack([loss.double(), norm.double(), loss.new_full((), step, dtype=torch.float64)])
        self._first = torch.where(wrong & (self.bad == 0), now, self._first)
        self.bad = torch.maximum(self.bad, wrong.to(self.bad.dtype))
        if not loss.is_cuda:
            self.check()

    def check(self) -> None:
        """NonFinite when a step was bad; the weights are those before it."""
        if bool(self.bad):
            loss, norm, step = self._first.tolist()
            raise NonFinite(
                f"{self.name}: step {step:.0f} has loss {loss:.4g} and gradient norm {norm:.4g}; the update was not "
                "made. The same plan would come to this step again: lower learning_rate in another output_dir"
            )


def _check_rate(leg: Leg, step: int, planned: float, probe: RateProbe) -> None:
    """The lie detector: the weights must have moved as the schedule says, as far as their rounding lets one tell."""
    applied = probe.measured()
    if not abs(applied - planned) <= RATE_TOLERANCE * planned + probe.rounding():
        raise RuntimeError(
            f"{leg.name}: step {step} was to be made at learning rate {planned:.6g}, but the weights moved as at "
            f"{applied:.6g}. The schedule is not what trains this model; this is a defect, please report it"
        )


class _Meter:
    """Speed, losses and the journal; tensors stay on the device until a step is logged."""

    def __init__(
        self, leg: Leg, journal: Journal, tell: Callable[[int, dict[str, Any]], None], pending: list[float]
    ) -> None:
        self.leg = leg
        self.journal = journal
        self.tell = tell
        self.seconds = 0.0
        self._since = time.perf_counter()
        self._logged_seconds = 0.0
        self._losses = [torch.tensor(loss, dtype=torch.float64) for loss in pending]
        self._tokens = 0

    def is_logged(self, step: int) -> bool:
        """Whether the step about to be made (counted from 0) ends a logging interval."""
        return (step + 1) % self.leg.log_every == 0 or step + 1 == self.leg.rows.steps or step < 3

    def add(self, step: int, loss: Tensor, norm: Tensor, rate: float) -> None:
        """Notes a finished step; writes and tells the interval's mean loss when the step is logged."""
        row_tokens = self.leg.rows.source_SR.shape[1] * self.leg.rows.seq_len
        self._losses.append(loss)
        self._tokens += row_tokens
        if not self.is_logged(step - 1):
            return
        mean = sum(self.pending()) / len(self._losses)
        self.clock()
        spent = self.seconds - self._logged_seconds
        entry = {
            "step": step,
            "tokens": step * row_tokens,
            "loss": mean,
            "rate": rate,
            "norm": float(norm),
            "tokens_per_second": self._tokens / spent if spent > 0 else 0.0,
        }
        self.journal.write(entry)
        self.tell(step, entry)
        self._losses, self._tokens, self._logged_seconds = [], 0, self.seconds

    def pending(self) -> list[float]:
        """The losses of the steps since the last logged one."""
        return [float(loss) for loss in self._losses]

    def pause(self, action: Callable[[], None]) -> None:
        """Runs an action without counting its time as training."""
        self.clock()
        action()
        self._since = time.perf_counter()

    def clock(self) -> None:
        """Adds the time since the clock was last read to the seconds of training."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
