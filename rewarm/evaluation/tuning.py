"""Tuning a learner on a task, scored as it goes: a short supervised loop, with or without a teacher.

Shapes: N targets, C classes or tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from rewarm.evaluation.learners import Judged, Learner, Padded, Passed, Reading, Rows, cast, score
from rewarm.hashing import seed_of
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import Tell, UserError, silent

Term = Callable[[int], Tensor]
"""What is added to the loss of a step (counted from 0): a scalar with its gradient, under the learner's precision."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings of a tuning.

    `epochs`, or `max_steps` in their place. An evaluation comes before the first step, then every `eval_every` steps
    (None: once an epoch) and after the last one. The rate rises over `warmup` steps, then falls to 0 in a line or stays
    (`decay`). `patience` ends the tuning after so many evaluations without a better one.
    """

    learning_rate: float = 2e-5
    epochs: int = 10
    max_steps: int | None = None
    batch_size: int = 16
    weight_decay: float = 0.0
    warmup: int = 0
    decay: Literal["linear", "none"] = "linear"
    patience: int | None = None
    eval_every: int | None = None
    max_grad_norm: float = 1.0
    seed: int = 0
    precision: str = "fp32"

    def __post_init__(self) -> None:
        """UserError for a number that is out of range."""
        counts = {"batch_size": self.batch_size, "epochs": self.epochs, "eval_every": self.eval_every}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise UserError(f"{name} {value} must be 1 or more")
        if self.learning_rate <= 0 or self.warmup < 0 or (self.max_steps is not None and self.max_steps < 0):
            raise UserError(
                f"learning_rate {self.learning_rate} must be above 0; warmup {self.warmup} and max_steps "
                f"{self.max_steps} must be 0 or more"
            )

    def steps(self, rows: int) -> int:
        """Steps of a tuning on that many rows."""
        return self.max_steps if self.max_steps is not None else self.epochs * -(-rows // self.batch_size)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        falling = (steps - step) / max(1, steps - self.warmup)
        return self.learning_rate * (falling if self.decay == "linear" else 1.0)


@dataclass(frozen=True, slots=True)
class Distil:
    """L = (1 - alpha) CE + alpha T^2 KL(teacher || student) + beta / 2 MSE of the hidden states.

    Recyclable tuning (Qin et al. 2023, arXiv 2305.08702). The KL is a mean over the targets (`batchmean`): the released
    code divides by targets x classes, so that its alpha means less the more classes there are. The states are those of
    the embedding and of every layer but the last; the released code takes the first token's, this takes every real
    token's, since the first token of a causal model has seen nothing.
    """

    alpha: float = 0.9
    temperature: float = 5.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        """UserError for a number that is out of range."""
        if not 0 <= self.alpha <= 1 or self.temperature <= 0 or self.beta < 0:
            raise UserError(f"{self}: alpha must be from 0 to 1, temperature above 0, beta 0 or more")

    def loss(self, student: Passed, teacher: Passed) -> Tensor:
        """The loss of one batch, a scalar. The student may have classes (tokens) that the teacher has not, behind its
        own."""
        cross_entropy = nn.functional.cross_entropy(student.logits_NC, student.labels_N)
        warm_NC = (student.logits_NC / self.temperature).log_softmax(-1)[:, : teacher.logits_NC.shape[1]]
        taught_NC = (teacher.logits_NC / self.temperature).log_softmax(-1)
        divergence = nn.functional.kl_div(warm_NC, taught_NC, reduction="batchmean", log_target=True)
        loss = (1 - self.alpha) * cross_entropy + self.alpha * self.temperature**2 * divergence
        if self.beta:
            pairs = zip(student.states, teacher.states, strict=True)
            errors = [nn.functional.mse_loss(mine.float(), other.float()) for mine, other in pairs]
            loss = loss + 0.5 * self.beta * torch.stack(errors).mean()
        return loss


@dataclass(frozen=True, slots=True)
class Teaching:
    """A teacher, which is left as it is, and how it is followed."""

    teacher: Learner
    distil: Distil


@dataclass(frozen=True, slots=True)
class Course:
    """How a tuning went: its evaluations, the one whose weights the learner now has, tokens trained on."""

    readings: tuple[Reading, ...]
    best: Reading
    tokens: int
    stopped_early: bool

    def steps_to(self, target: float, by: Judged = "accuracy") -> int | None:
        """Steps after which an evaluation first reached the target: an accuracy of at least it, or a loss of at most
        it; None if none did."""
        for reading in self.readings:
            if (reading.accuracy >= target) if by == "accuracy" else (reading.loss <= target):
                return reading.step
        return None


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Dropout draws by the seed; the caller's random state is not touched."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def batches(rows: int, size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """The rows of each step: every epoch has each row once, in an order of its own that follows from the seed."""
    made = epoch = 0
    while made < steps:
        order = np.random.default_rng(seed_of(seed, "tuning", epoch)).permutation(rows)
        for start in range(0, rows, size):
            if made < steps:
                yield order[start : start + size].tolist()
            made += 1
        epoch += 1


def tune(
    learner: Learner,
    train: Rows,
    dev: Rows,
    tuning: Tuning,
    teaching: Teaching | None = None,
    tell: Tell = silent,
    term: Term | None = None,
) -> Course:
    """Tunes the parameters that require a gradient, in place, and leaves the learner with the best weights seen on dev.

    `term` is added to the loss of every step. A teacher, where there is one, is only asked. The same seed gives the
    same course, on one machine bit for bit on its CPU. UserError for no row, and for a teacher the student cannot
    follow.
    """
    if not len(train.lengths):
        raise UserError("there is no row to tune on: give at least one")
    steps = tuning.steps(len(train.lengths))
    every = tuning.eval_every or -(-len(train.lengths) // tuning.batch_size)
    options = AdamWOptions(tuning.weight_decay, (0.9, 0.999), 1e-8, tuning.max_grad_norm)
    optimizer = Optimizer(learner, options, learner.paces())
    kept = _Best(learner, tuning.patience)
    kept.see(score(learner, dev, tuning.precision).reading(0))
    tokens = 0
    with _seeded(learner.body.device, tuning.seed):
        for step, chosen in enumerate(batches(len(train.lengths), tuning.batch_size, steps, tuning.seed)):
            learner.train()
            rows = train.padded(chosen, learner.pad)
            tokens += int(rows.real_BT.sum())
            with cast(learner, tuning.precision):
                loss = _loss(learner, rows, teaching)
                if term is not None:
                    loss = loss + term(step)
            loss.backward()
            optimizer.clip()
            optimizer.step(tuning.rate(step, steps))
            tell("tune", step + 1, steps, "steps")
            if (step + 1) % every == 0 or step + 1 == steps:
                kept.see(score(learner, dev, tuning.precision).reading(step + 1))
                if kept.spent:
                    break
    learner.eval()
    kept.restore()
    return Course(tuple(kept.readings), kept.best, tokens, kept.spent and kept.readings[-1].step < steps)


def _loss(learner: Learner, rows: Padded, teaching: Teaching | None) -> Tensor:
    states = teaching is not None and teaching.distil.beta > 0
    passed = learner.read(rows, states)
    if teaching is None:
        loss = nn.functional.cross_entropy(passed.logits_NC, passed.labels_N)
        return loss if passed.extra is None else loss + passed.extra
    teaching.teacher.eval()
    with torch.no_grad():
        taught = teaching.teacher.read(rows, states)
    if taught.logits_NC.shape[1] > passed.logits_NC.shape[1]:
        raise UserError(
            f"the teacher tells {taught.logits_NC.shape[1]} classes apart, the student {passed.logits_NC.shape[1]}: "
            "give a teacher of the same task and vocabulary"
        )
    if [state.shape for state in passed.states] != [state.shape for state in taught.states]:
        raise UserError("teacher and student differ in layers or width, so their states do not compare: set beta to 0")
    return teaching.distil.loss(passed, taught)


class _Best:
    """The readings so far and a copy of the weights of the best one."""

    def __init__(self, learner: Learner, patience: int | None) -> None:
        self.readings: list[Reading] = []
        self._patience, self._waited = patience, 0
        self._judged = learner.judged
        self._moving = [parameter for parameter in learner.parameters() if parameter.requires_grad]
        self._kept: list[Tensor] = []
        self._best: Reading | None = None

    def see(self, reading: Reading) -> None:
        """Keeps the weights if they are better than any before: ties go to the lower loss."""
        better = self._best is None or self._worth(reading) > self._worth(self._best)
        self.readings.append(reading)
        self._waited = 0 if better else self._waited + 1
        if better:
            self._best = reading
            self._kept = [parameter.detach().clone() for parameter in self._moving]

    def _worth(self, reading: Reading) -> tuple[float, ...]:
        return (reading.accuracy, -reading.loss) if self._judged == "accuracy" else (-reading.loss,)

    @property
    def best(self) -> Reading:
        """The best reading seen."""
        assert self._best is not None  # the loop scores before its first step
        return self._best

    @property
    def spent(self) -> bool:
        """Whether patience is."""
        return self._patience is not None and self._waited >= self._patience

    @torch.no_grad()
    def restore(self) -> None:
        """Gives the learner the weights of the best reading."""
        for parameter, kept in zip(self._moving, self._kept, strict=True):
            parameter.copy_(kept)
