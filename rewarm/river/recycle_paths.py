"""How a recycling depends on its scale, and whether old and new task models lie in one basin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rewarm.evaluation.learners import Learner, Outcome, Rows, score
from rewarm.models.recycling import Tensors, between
from rewarm.report.frontier import barrier
from rewarm.report.recycling import Arm, Path, Scaled
from rewarm.river import merge_parts
from rewarm.river.recycle_models import Models
from rewarm.river.recycle_order import PLACES, SCALES
from rewarm.river.train import Hooks
from rewarm.storage import read_json, write_json


def sweep(models: Models, rows: Rows, hooks: Hooks) -> tuple[Scaled, ...]:
    """The carried model at every scale of SCALES, on `rows`; what was scored is kept."""
    file = models.work.output / "arms" / "sweep.json"
    kept = read_json(file)
    if kept is None:
        found = []
        for number, scale in enumerate(SCALES):
            hooks.tell_or_stop("sweep", number, len(SCALES), "scales")
            learner = models.learner(models.start("direct", scale).model)
            outcome = score(learner, rows, models.work.order.tuning.precision)
            found.append(Scaled(scale=scale, loss=outcome.loss, accuracy=outcome.accuracy))
        kept = [one.model_dump(mode="json") for one in found]
        write_json(file, kept)
    return tuple(Scaled.model_validate(one) for one in kept)


def paths(models: Models, arms: Sequence[Arm], rows: Rows, hooks: Hooks) -> tuple[Path, ...]:
    """The straight line from the old task model to every arm that was trained; what was scored is kept."""
    found = []
    for arm in arms:
        if arm.way == "direct":
            continue
        file = models.work.output / "arms" / f"path-{arm.way}.json"
        kept = read_json(file)
        if kept is None:
            hooks.tell_or_stop(f"path to {arm.way}", 0, PLACES, "places")
            old = merge_parts.tensors(models.old_task())
            learner = models.learner(models.load(models.work.output / arm.way))
            scored = path(learner, old, rows, models.work.order.tuning.precision, hooks)
            kept = _described(arm, scored).model_dump(mode="json")
            write_json(file, kept)
        found.append(Path.model_validate(kept))
    return tuple(found)


def path(learner: Learner, first: Tensors, rows: Rows, precision: str, hooks: Hooks) -> list[Outcome]:
    """Outcomes at PLACES even places from the weights `first` to the learner's own, which it has again at the end."""
    last = {name: value.clone() for name, value in merge_parts.tensors(learner.body).items()}
    found = []
    for number, place in enumerate(np.linspace(0, 1, PLACES).tolist()):
        hooks.tell_or_stop("path", number, PLACES, "places")
        between(learner.body, first, last, place)
        found.append(score(learner, rows, precision))
    return found


def _described(arm: Arm, scored: Sequence[Outcome]) -> Path:
    places = np.linspace(0, 1, PLACES).tolist()
    losses = [outcome.loss for outcome in scored]
    return Path(
        way=arm.way,
        places=places,
        losses=losses,
        accuracies=[outcome.accuracy for outcome in scored],
        barrier=barrier(places, losses) if all(map(math.isfinite, losses)) else math.inf,
    )
