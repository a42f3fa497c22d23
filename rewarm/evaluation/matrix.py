"""Stream metrics over the matrix of losses: what later stages did to earlier tasks, and the other way
round.

`losses[i][j]` is the loss after stage i on task j + 1: row 0 is the untouched base, row i the model after
stage i, and the columns are the tasks in the order in which the stages learn them, so there is one row more
than columns. Losses are given as measured (lower is better). The formulas speak of scores R = -loss, so
that the signs are the published ones; results are in the units of the losses given (nats per byte, where
losses are). In the formulas rows count from 0 and tasks from 1, T is the number of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rewarm.types import UserError

Losses = Sequence[Sequence[float]]


def _scores(losses: Losses) -> list[list[float]]:
    rows = [[-loss for loss in row] for row in losses]
    tasks = len(rows) - 1
    if tasks < 1 or any(len(row) != tasks for row in rows):
        raise UserError(
            "the matrix needs a row for the base, one per stage, and one column per stage; "
            f"got {len(rows)} rows of {sorted({len(row) for row in rows})} columns"
        )
    return rows


def average_performance(losses: Losses, after: int | None = None) -> float:
    """AP_t = (1/t) sum over j <= t of R[t][j]: the mean score on the tasks learned so far. Higher is
    better.

    On losses it is minus the mean loss. `after` is t, by default the last stage.
    """
    scores = _scores(losses)
    last = len(scores) - 1 if after is None else after
    if not 1 <= last < len(scores):
        raise UserError(f"after={after} is no stage; allowed: 1 to {len(scores) - 1}")
    return sum(scores[last][:last]) / last


def backward_transfer(losses: Losses, denominator: Literal["t-1", "t"] = "t-1") -> float | None:
    """BWT = 1/(T-1) sum over j < T of (R[T][j] - R[j][j]). Negative is forgetting, positive is later help.

    Lopez-Paz and Ranzato 2017 (GEM). TRACE (Wang et al. 2023) divides the same sum by T: `denominator="t"`.
    None with fewer than two stages.
    """
    scores = _scores(losses)
    last = len(scores) - 1
    if last < 2:
        return None
    total = sum(scores[last][task] - scores[task + 1][task] for task in range(last - 1))
    return total / (last if denominator == "t" else last - 1)


def forgetting(losses: Losses, with_base: bool = True) -> float | None:
    """F = 1/(T-1) sum over j < T of (max over i < T of R[i][j], minus R[T][j]). Positive is bad.

    Chaudhry et al. 2018, with the base among the earlier models: a pre-trained base may know a task best of
    all. Without it this is the Forget of Yadav et al. 2023 (arXiv 2307.02435). It is negative only where the last
    model beats every earlier one. None with fewer than two stages.
    """
    scores = _scores(losses)
    last = len(scores) - 1
    if last < 2:
        return None
    earlier = scores[0 if with_base else 1 : last]
    lost = [max(row[task] for row in earlier) - scores[last][task] for task in range(last - 1)]
    return sum(lost) / len(lost)


def forgetting_rate(losses: Losses) -> float | None:
    """FR = 1/(T-1) sum over k < T of (R[k][k] - R[T][k]). Positive is bad, negative is backward transfer.

    The form of ContinualLM and DAS (Ke et al. 2023): measured from the moment a task was learned, so
    exactly minus `backward_transfer`. None with fewer than two stages.
    """
    transfer = backward_transfer(losses)
    return None if transfer is None else -transfer


def forward_transfer_gem(losses: Losses, untrained: Sequence[float] | None = None) -> float | None:
    """FWT = 1/(T-1) sum over j >= 2 of (R[j-1][j] - b_j). Positive: earlier stages helped a task not yet
    learned.

    Lopez-Paz and Ranzato 2017 (GEM). `untrained` holds the losses behind b (one per task), by default the
    base's row. None with fewer than two stages.
    """
    scores = _scores(losses)
    last = len(scores) - 1
    reference = scores[0] if untrained is None else _one_per_task(untrained, last, "untrained")
    if last < 2:
        return None
    return sum(scores[task][task] - reference[task] for task in range(1, last)) / (last - 1)


def plasticity_gap(losses: Losses, alone: Sequence[float]) -> float | None:
    """1/(T-1) sum over j >= 2 of (R[j][j] - a_j). Negative: the stream learned less than a fresh start
    would have.

    `alone[j]` is the loss on task j + 1 of a model trained from the base on that task alone. Several papers
    call this FWT too; it is not `forward_transfer_gem`. None with fewer than two stages.
    """
    scores = _scores(losses)
    last = len(scores) - 1
    fresh = _one_per_task(alone, last, "alone")
    if last < 2:
        return None
    return sum(scores[task + 1][task] - fresh[task] for task in range(1, last)) / (last - 1)


def _one_per_task(losses: Sequence[float], tasks: int, name: str) -> list[float]:
    if len(losses) != tasks:
        raise UserError(f"{name} needs one loss per task: {tasks}, got {len(losses)}")
    return [-loss for loss in losses]


@dataclass(frozen=True, slots=True)
class MonthsSummary:
    """Mean differences of loss, after minus reference: below 0 is better than the reference, above 0 worse.

    `backward` is over earlier months than the model's own (j < i), `in_month` over its own (j = i), `forward` over
    later ones (j > i); None without a cell. `cells` says over how many each of them is.
    """

    backward: float | None
    in_month: float | None
    forward: float | None
    cells: tuple[int, int, int]


def months_summary(losses: Sequence[Sequence[float | None]], reference: Sequence[float]) -> MonthsSummary:
    """Backward, in-month and forward regret of a stream: means of L[i][j] - r_j over j < i, j = i and j > i.

    TiC-LM (Li et al. 2025, arXiv 2504.02107), which takes r from a model trained on all months; here r is whatever loss
    is given for each month, such as the base's. Unlike in the rest of this file there is no row for the base: row i is
    the model after month i, column j the text of month j, both from 1 to T. Every cell counts the same, so the
    denominators are T(T-1)/2, T and T(T-1)/2, less what is None: not scored. UserError unless the matrix is square.
    """
    months = len(reference)
    if not months or len(losses) != months or any(len(row) != months for row in losses):
        raise UserError(
            f"the months need one row and one column each and one reference; got {len(losses)} rows of "
            f"{sorted({len(row) for row in losses})} columns and {months} references"
        )
    parts: tuple[list[float], list[float], list[float]] = ([], [], [])
    for i, row in enumerate(losses):
        for j, loss in enumerate(row):
            if loss is not None:
                parts[0 if j < i else 1 if j == i else 2].append(loss - reference[j])
    backward, in_month, forward = (sum(part) / len(part) if part else None for part in parts)
    return MonthsSummary(backward, in_month, forward, (len(parts[0]), len(parts[1]), len(parts[2])))


@dataclass(frozen=True, slots=True)
class XDelta:
    """`mean` change of score over tasks outside the stream, and the task that lost most (or gained least)."""

    mean: float
    worst_task: str
    worst: float


def x_delta(before: Mapping[str, float], after: Mapping[str, float], *, higher_is_better: bool = False) -> XDelta:
    """The mean over M tasks outside the stream of R_after - R_before. Negative: ability was lost.

    TRACE (Wang et al. 2023). The mean hides a collapse of one task, hence the worst. Values are losses, or
    scores with `higher_is_better`. UserError when the two name different tasks or none.
    """
    if not before or set(before) != set(after):
        raise UserError(
            f"x_delta needs the same tasks before and after, at least one; got {sorted(before)} and {sorted(after)}"
        )
    sign = 1.0 if higher_is_better else -1.0
    changes = {task: sign * (after[task] - before[task]) for task in before}
    worst = min(changes, key=lambda task: changes[task])
    return XDelta(sum(changes.values()) / len(changes), worst, changes[worst])
