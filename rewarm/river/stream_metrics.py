"""Metrics of a stream: what the models along the path to the last stage lose on the text of every stage.

A stage's task, or month, is the mean loss of its own watched corpora.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewarm.evaluation import matrix
from rewarm.evaluation.intervals import DocumentLosses
from rewarm.plan import Plan
from rewarm.report.result import Metrics, Months
from rewarm.river.legs import BASE, LegPlan

Losses = Mapping[str, DocumentLosses]
FEWEST_MONTHS = 3
"""With fewer there are no more than four cells, which the table of models shows as well."""


def metrics(
    plan: Plan, planned: Sequence[LegPlan], own: Mapping[str, Losses], base: Losses, alone: Mapping[str, Losses]
) -> Metrics:
    """Stream metrics over the stages on the path to the last one, and X-Delta over the old corpora.

    `own` holds the losses of each finished leg by its name, `alone` those of the control by stage. Without a watched
    corpus of each stage, or with a cell that was not scored, the stream metrics are unmeasured.
    """
    path = path_of(planned)
    tasks = _tasks(plan, path, base)
    ready = all(leg.name in own for leg in path)
    old = [corpus for corpus in base if plan.role(corpus) == "old"]
    found: dict[str, Any] = {}
    if ready and old:
        last = own[path[-1].name]
        change = matrix.x_delta(
            {corpus: base[corpus].per_byte for corpus in old},
            {corpus: last[corpus].per_byte for corpus in old},
        )
        found |= {"x_delta": change.mean, "x_delta_worst": (change.worst_task, change.worst)}
    rows = [base, *(own.get(leg.name, {}) for leg in path)]
    losses = [[one for task in tasks if (one := _mean(held, task)) is not None] for held in rows]
    if ready and all(tasks) and all(len(row) == len(tasks) for row in losses):
        found |= {
            "average": matrix.average_performance(losses),
            "forgetting": matrix.forgetting(losses),
            "backward_transfer": matrix.backward_transfer(losses),
            "forward_transfer_gem": matrix.forward_transfer_gem(losses),
        }
        fresh = [_mean(alone.get(leg.stage, {}), task) for leg, task in zip(path[1:], tasks[1:], strict=True)]
        if fresh and None not in fresh:
            measured = [one for one in fresh if one is not None]
            found["plasticity_gap"] = matrix.plasticity_gap(losses, [losses[1][0], *measured])
    return Metrics(**found)


def months(plan: Plan, planned: Sequence[LegPlan], own: Mapping[str, Losses], base: Losses) -> Months | None:
    """The summary of every stage on the text of every stage; None with fewer than three stages or an unwatched one."""
    path = path_of(planned)
    tasks = _tasks(plan, path, base)
    if len(path) < FEWEST_MONTHS or not all(tasks):
        return None
    dates = {stage.name: stage.date for stage in plan.stages}
    losses = [[_mean(own.get(leg.name, {}), task) for task in tasks] for leg in path]
    reference = [sum(base[corpus].per_byte for corpus in task) / len(task) for task in tasks]
    found = matrix.months_summary(losses, reference)
    return Months(
        rows=[leg.name for leg in path],
        names=[dates[leg.stage] or leg.stage for leg in path],
        corpora=tasks,
        backward=found.backward,
        in_month=found.in_month,
        forward=found.forward,
        cells=found.cells,
    )


def _tasks(plan: Plan, path: Sequence[LegPlan], base: Losses) -> list[list[str]]:
    """The watched corpora that each stage learns; what it replays is the text of another stage."""
    learned = {stage.name: [portion.corpus for portion in stage.data] for stage in plan.stages}
    return [[one for one in learned[leg.stage] if one in base and plan.role(one) == "new"] for leg in path]


def path_of(planned: Sequence[LegPlan]) -> list[LegPlan]:
    """Stages from the base to the last stage, each starting where the one before it ended."""
    by_name = {leg.name: leg for leg in planned}
    trunk = [leg for leg in planned if leg.kind == "stage"]
    path = [trunk[-1]]
    while path[0].start != BASE:
        path.insert(0, by_name[path[0].start])
    return [leg for leg in path if leg.kind == "stage"]


def _mean(losses: Losses, corpora: Sequence[str]) -> float | None:
    """The mean loss over corpora; None where one of them was not scored."""
    if not all(corpus in losses for corpus in corpora):
        return None
    return sum(losses[corpus].per_byte for corpus in corpora) / max(1, len(corpora))
