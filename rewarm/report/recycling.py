"""What `rewarm recycle` found, as values: `recycle.json` holds them, and the page is drawn from them."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from rewarm.report.part import Part, Verdict
from rewarm.report.wording import listed, signed

Way = Literal["direct", "init", "teacher", "both", "fresh"]
WAYS: tuple[Way, ...] = ("direct", "init", "teacher", "both", "fresh")
MEANT: dict[Way, str] = {
    "direct": "task weights carried over, nothing trained",
    "init": "tuned from the carried weights",
    "teacher": "tuned afresh, taught by the old task model",
    "both": "tuned from the carried weights, taught by the old task model",
    "fresh": "tuned afresh: the control",
}


class Point(Part):
    """An evaluation on the development rows after `step` steps: nats a target, the share of rows that are right, and
    macro-F1 of classes."""

    step: int
    loss: float
    accuracy: float
    macro_f1: float | None


class Against(Part):
    """What the test rows say of an arm less the fresh one, in accuracy (loss for answers), with its 95 % interval."""

    delta: float
    low: float
    high: float
    verdict: Verdict


class Arm(Part):
    """One way. `best` is the evaluation whose weights were kept, `test` is of them. `steps_to_target` is None where no
    evaluation reached the target, or there is none. Without a task all that was scored is missing."""

    way: Way
    model: str
    readings: tuple[Point, ...] = ()
    best: Point | None = None
    test: Point | None = None
    tokens: int = 0
    steps_to_target: int | None = None
    against_fresh: Against | None = None


class Scaled(Part):
    """The new base with `scale` times the difference, on the development rows."""

    scale: float
    loss: float
    accuracy: float


class Path(Part):
    """The straight line from the old task model (0) to an arm's (1), on the development rows.

    `barrier` is how far the loss rises above the line between the losses at its ends, in nats a target.
    """

    way: Way
    places: list[float]
    losses: list[float]
    accuracies: list[float]
    barrier: float


class Recycled(Part):
    """A whole recycling. `judged` is what arms are compared by; `target` is a value of it. `teacher` is the old task
    model on the test rows."""

    version: Literal[1] = 1
    rewarm: str
    old: str
    tuned: str
    new: str
    adapter: bool
    scale: float
    kind: Literal["labels", "answers"] | None
    classes: tuple[str, ...] = ()
    rows: dict[str, int] = Field(default_factory=dict)
    bad_rows: dict[str, int] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    judged: Literal["accuracy", "loss"] = "accuracy"
    target: float | None = None
    teacher: Point | None = None
    arms: tuple[Arm, ...]
    sweep: tuple[Scaled, ...] = ()
    paths: tuple[Path, ...] = ()
    verdict: str = ""


def worth(found: Recycled, point: Point) -> float:
    """What an arm is compared by."""
    return point.accuracy if found.judged == "accuracy" else point.loss


def said(found: Recycled, value: float) -> str:
    """A value of what arms are compared by, in words."""
    return f"{100 * value:.1f}%" if found.judged == "accuracy" else f"{value:.4f} nats"


def verdict(found: Recycled) -> str:
    """One or more sentences: who reached the target first, what the test rows say, how high the barrier is."""
    arms = {arm.way: arm for arm in found.arms}
    if found.kind is None:
        return "No task was given, so the carried model was written and nothing of it is known."
    sentences = [_first(found), _tested(found)]
    if "direct" in arms and arms["direct"].test is not None:
        sentences.append(f"Carried over without training, the task weights give {_test(found, arms['direct'])}.")
    for path in found.paths:
        height = f"{path.barrier:.4f} nats" if math.isfinite(path.barrier) else "no finite height"
        sentences.append(f"The barrier on the straight line from the old task model to '{path.way}' is {height}.")
    return " ".join(filter(None, sentences))


def _first(found: Recycled) -> str:
    if found.target is None:
        return ""
    reached = sorted(
        (arm.steps_to_target, place, arm.way) for place, arm in enumerate(found.arms) if arm.steps_to_target is not None
    )
    never = [arm.way for arm in found.arms if arm.steps_to_target is None]
    told = [f"{way} after {steps} steps" for steps, _, way in reached]
    target = f"the target of {said(found, found.target)} on the development rows"
    if not told:
        return f"No way reached {target}."
    rest = f"; not by {listed(never)}" if never else ""
    return f"{target[0].upper()}{target[1:]} was reached by {listed(told)}{rest}."


def _tested(found: Recycled) -> str:
    clauses = []
    for arm in found.arms:
        if arm.against_fresh is None:
            continue
        one, unit = arm.against_fresh, 100 if found.judged == "accuracy" else 1
        digits, word = (1, " points") if found.judged == "accuracy" else (4, " nats")
        span = f"[{signed(unit * one.low, digits)}, {signed(unit * one.high, digits)}]"
        clauses.append(f"{arm.way} is {one.verdict} ({signed(unit * one.delta, digits)}{word} {span})")
    return f"On the test rows, against the fresh start: {'; '.join(clauses)}." if clauses else ""


def _test(found: Recycled, arm: Arm) -> str:
    assert arm.test is not None
    return said(found, worth(found, arm.test)) + " on the test rows"
