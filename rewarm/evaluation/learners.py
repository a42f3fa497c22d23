"""What can be tuned and scored on a task: padded rows in, logits of the rows' targets out.

A target is a row's class (rewarm.evaluation.classifier) or a token of its answer (rewarm.evaluation.answering).

Shapes: B rows, T positions, N targets, C classes or V vocabulary (also C), M real tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.evaluation.passes import batch_tokens, length_batches
from rewarm.objectives.products import as_torch_does
from rewarm.training.machine import choose_precision
from rewarm.types import UserError

Judged = Literal["accuracy", "loss"]
IGNORED = -100
"""The label of a token that is not predicted."""


@dataclass(frozen=True, slots=True)
class Padded:
    """Rows of one pass. `labels` are classes (B,), or tokens (B, T) with IGNORED where nothing is predicted.

    `task_B` numbers the task of each row, where rows of several tasks are mixed and the learner is told.
    """

    tokens_BT: Tensor
    real_BT: Tensor
    labels: Tensor
    task_B: tuple[int, ...] = ()


class Rows(Protocol):
    """Rows of a task."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each row."""

    def padded(self, chosen: Sequence[int], pad: int) -> Padded:
        """The chosen rows, filled up on the right with the token `pad`."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a learner made of rows: logits and labels of their targets, the row of each, and the hidden states.

    `states` are those of the embedding and of every layer but the last at the real tokens (M, D); empty if not asked.
    `extra` is what the learner itself adds to the loss of these rows, a scalar.
    """

    logits_NC: Tensor
    labels_N: Tensor
    row_N: Tensor
    states: tuple[Tensor, ...] = ()
    extra: Tensor | None = None


class Learner(nn.Module):
    """A model that can be tuned. `judged` is what its best state is chosen by."""

    judged: ClassVar[Judged]
    body: PreTrainedModel

    def read(self, rows: Padded, states: bool = False) -> Passed:
        """Logits of the rows' targets; all tensors on the body's device."""
        raise NotImplementedError

    def paces(self) -> dict[str, float]:
        """Factors of the learning rate, by the name of a parameter; 1 for one that is not named."""
        return {}

    @property
    def pad(self) -> int:
        """The token that rows are filled up with: the body's own, since some families count positions by it."""
        own = getattr(self.body.config.get_text_config(), "pad_token_id", None)
        return int(own) if own is not None else 0


@dataclass(frozen=True, slots=True)
class Reading:
    """An evaluation after `step` steps: mean loss in nats a target, and the share of rows that are right.

    A row of an answer is right if greedy decoding gives it whole. `macro_f1`, of classes, is the mean over those that
    occur in the labels or the predictions; None of answers.
    """

    step: int
    loss: float
    accuracy: float
    macro_f1: float | None


def macro_f1(predicted_N: NDArray[np.int64], labels_N: NDArray[np.int64], classes: int) -> float:
    """The mean over classes of 2TP / (2TP + FP + FN); a class that neither occurs nor is predicted does not count."""
    counts_CC = np.zeros((classes, classes), np.int64)
    np.add.at(counts_CC, (labels_N, predicted_N), 1)
    right_C = np.diag(counts_CC)
    total_C = counts_CC.sum(axis=0) + counts_CC.sum(axis=1)
    there = total_C > 0
    return float((2 * right_C[there] / total_C[there]).mean()) if there.any() else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a learner says of B rows, in their order: nats and targets of each, whether it is right, and the class it
    was given (-1 of answers)."""

    nats_B: NDArray[np.float64]
    targets_B: NDArray[np.int64]
    right_B: NDArray[np.bool_]
    class_B: NDArray[np.int64]
    label_B: NDArray[np.int64]

    @property
    def loss(self) -> float:
        """Nats a target."""
        return float(self.nats_B.sum() / self.targets_B.sum())

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(self.right_B.mean())

    @property
    def macro_f1(self) -> float | None:
        """The mean F1 over the classes that occur in the labels or the predictions; None of answers."""
        if (self.class_B < 0).any():
            return None
        classes = 1 + max(int(self.class_B.max(initial=-1)), int(self.label_B.max(initial=-1)))
        return macro_f1(self.class_B, self.label_B, classes)

    def reading(self, step: int) -> Reading:
        """The means."""
        return Reading(step, self.loss, self.accuracy, self.macro_f1)


def cast(learner: Learner, precision: str) -> torch.autocast:
    """The context in which a learner computes in a number format: fp32, bf16 or auto."""
    kind = choose_precision(precision)
    return torch.autocast(learner.body.device.type, kind, enabled=kind != torch.float32)


@torch.no_grad()
def passes(learner: Learner, rows: Rows, precision: str = "fp32") -> Iterator[tuple[NDArray[np.int64], Padded, Passed]]:
    """Every row once, without dropout and gradients: the numbers of the rows of a pass, the rows, and what the learner
    made of them. Rows of like length share a pass."""
    was_training = learner.training
    order = sorted(range(len(rows.lengths)), key=lambda row: -rows.lengths[row])
    try:
        for start, end in length_batches([rows.lengths[row] for row in order], batch_tokens(learner.body)):
            chosen = np.array(order[start:end])
            padded = rows.padded(chosen.tolist(), learner.pad)
            learner.eval()
            with as_torch_does(), cast(learner, precision):
                passed = learner.read(padded)
            yield chosen, padded, passed
    finally:
        learner.train(was_training)


def score(learner: Learner, rows: Rows, precision: str = "fp32") -> Outcome:
    """What the learner says of every row, without dropout; rows of like length share a pass. UserError for no row."""
    count = len(rows.lengths)
    if count == 0:
        raise UserError("there is no row to score: give at least one")
    nats_B, targets_B = np.zeros(count), np.zeros(count, np.int64)
    right_B = np.ones(count, bool)
    class_B, label_B = np.full(count, -1), np.full(count, -1)
    for chosen, padded, passed in passes(learner, rows, precision):
        nats_N = nn.functional.cross_entropy(passed.logits_NC, passed.labels_N, reduction="none")
        best_N, at_N = passed.logits_NC.argmax(1), chosen[passed.row_N.cpu().numpy()]
        np.add.at(nats_B, at_N, nats_N.double().cpu().numpy())
        np.add.at(targets_B, at_N, 1)
        np.logical_and.at(right_B, at_N, (best_N == passed.labels_N).cpu().numpy())
        if padded.labels.ndim == 1:
            class_B[at_N], label_B[at_N] = best_N.cpu().numpy(), passed.labels_N.cpu().numpy()
    return Outcome(nats_B, targets_B, right_B, class_B, label_B)
