"""Merged models beside each other: who is on the Pareto frontier of old and new text, which one is chosen, and why.

A change is a change of loss per byte as a fraction of the base's loss on the same documents; below 0 is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from rewarm.evaluation.frontier import Point, frontier
from rewarm.report.part import Part
from rewarm.report.result import Cell, Column
from rewarm.report.wording import NOISE, percent

Prefer = Literal["balanced", "old", "new"]


class MergePoint(Part):
    """One model: a merge, or one of the merged models as it is (`untouched`).

    `weight` is its place in the sweep, None when it is not part of one. `members` names the models in it. `old` and
    `new` are its mean changes over the watch corpora of that role (None without such a corpus), `mean` that over all.
    """

    name: str
    weight: float | None
    members: list[str]
    untouched: bool
    weights_sha256: str
    cells: dict[str, Cell]
    old: float | None
    new: float | None
    mean: float
    frontier: bool = False


class Merge(Part):
    """What `rewarm merge` found: `merge.json` holds it, and the page is drawn from it.

    `revisions` are the commits of models that came from the hub. `choice` is the name of the chosen point, and
    `model` the folder it is saved in. `against_stage` compares it with the untouched stage, unless that is the
    choice. `barrier`, per corpus in nats per byte, is the largest rise of the loss along the sweep above the
    straight line between the losses at its ends; None where there is no sweep.
    """

    version: Literal[1] = 1
    rewarm: str
    run: str
    method: str
    stage: str
    prefer: Prefer
    max_forgetting: float | None
    density: float | None
    seed: int
    parts: dict[str, str]
    revisions: dict[str, str] = Field(default_factory=dict)
    columns: list[Column]
    points: list[MergePoint]
    choice: str
    reason: str
    against_stage: dict[str, Cell]
    barrier: dict[str, float] | None
    model: str


def marked(points: Sequence[MergePoint]) -> list[MergePoint]:
    """The points with `frontier` set; an axis without a watch corpus counts as equal for all."""
    changes = [Point(point.old or 0.0, point.new or 0.0) for point in points]
    kept = set(frontier(changes))
    return [
        point.model_copy(update={"frontier": change in kept}) for point, change in zip(points, changes, strict=True)
    ]


def mean_changes(cells: Mapping[str, Cell], columns: Sequence[Column]) -> tuple[float | None, float | None, float]:
    """The mean change on old, on new and on all watch corpora; None where there is no corpus of that role."""
    by_role = [[cells[column.name].relative for column in columns if column.role == role] for role in ("old", "new")]
    old, new = (sum(changes) / len(changes) if changes else None for changes in by_role)
    every = [*by_role[0], *by_role[1]]
    return old, new, sum(every) / len(every)


def choose(
    points: Sequence[MergePoint], stage: str, prefer: Prefer, max_forgetting: float | None
) -> tuple[MergePoint, str]:
    """The chosen point and why, in a sentence. One of the points is the base, which forgets nothing.

    `balanced` takes the lowest mean change over all watch corpora, `new` the lowest on new text, `old` the lowest on
    old text among the points that learned anything. `max_forgetting` is the largest mean change on old text that is
    allowed; among the points within it the best on new text is taken. `stage` names the untouched stage.
    """
    finite = [point for point in points if math.isfinite(point.mean)]
    if max_forgetting is not None:
        best = min((point for point in finite if (point.old or 0.0) <= max_forgetting), key=_new)
        said = (
            f"learns most (new {_said(best.new)}) of the points that forget at most {100 * max_forgetting:g}% of old "
        )
        said += f"text (old {_said(best.old)})"
    elif prefer == "new":
        best = min(finite, key=_new)
        said = f"has the lowest loss on new text ({_said(best.new)})"
    elif prefer == "old":
        learned = [point for point in finite if _new(point) < 0] or finite
        best = min(learned, key=lambda point: (point.old or 0.0, _new(point)))
        said = f"forgets least (old {_said(best.old)}) of the points that learned anything (new {_said(best.new)})"
    else:
        best = min(finite, key=lambda point: point.mean)
        said = f"has the lowest mean change over the watched corpora ({_said(best.mean)})"
    return best, f"{_as_it_is(best)} {said}{_beside(points, best, stage)}"


def _new(point: MergePoint) -> float:
    return point.new or 0.0


def _said(change: float | None) -> str:
    return "not watched" if change is None else percent(change)


def _as_it_is(point: MergePoint) -> str:
    return f"{point.name}, as it is," if point.untouched else point.name


def _beside(points: Sequence[MergePoint], best: MergePoint, stage: str) -> str:
    if best.untouched:
        return ": merging does not help here."
    own = next(point for point in points if point.name == stage)
    return f"; {stage}, as it is, has old {_said(own.old)}, new {_said(own.new)}, mean {_said(own.mean)}."


def noise(against_stage: Mapping[str, Cell]) -> str:
    """A sentence where the choice differs from the untouched stage by nothing but noise; otherwise nothing."""
    if against_stage and all(cell.verdict == NOISE for cell in against_stage.values()):
        return " On no corpus is the difference between the two distinguishable from noise."
    return ""


def barriers(points: Sequence[MergePoint]) -> dict[str, float] | None:
    """Per corpus, max over the sweep of loss - (the line between the losses at its ends), in nats per byte; >= 0.

    None without a point between the ends. Linear connectivity: Frankle et al. 2020, arXiv 1912.05671.
    """
    sweep = sorted(
        ((point.weight, point) for point in points if point.weight is not None), key=lambda placed: placed[0]
    )
    if len(sweep) < 3:
        return None
    first = sweep[0][1]
    places = [weight for weight, _ in sweep]
    return {corpus: barrier(places, [point.cells[corpus].loss for _, point in sweep]) for corpus in first.cells}


def barrier(places: Sequence[float], losses: Sequence[float]) -> float:
    """max over the places of loss - (the line between the losses at the ends), or 0 where no place lies above it."""
    (low, *_, high), (start, *_, end) = places, losses
    lines = [start + (end - start) * (place - low) / (high - low) for place in places]
    return max(0.0, *(loss - line for loss, line in zip(losses, lines, strict=True)))
