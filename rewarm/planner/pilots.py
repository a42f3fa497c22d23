"""Pilots: short runs of the plan to be, by rewarm's own loop, over one set of prepared tokens.

Each is an ordinary run directory, `pilots/<name>`, scored on the part of the held-out documents that is called `pilot`;
the final part is read by no pilot. Stopped, the same command goes on; a finished pilot is not run again. Its model is
deleted once it is scored.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rewarm.evaluation.intervals import paired_delta
from rewarm.evaluation.loss import load
from rewarm.plan import Plan, from_values
from rewarm.planner import Floats, Settings
from rewarm.planner.design import Point
from rewarm.planner.judging import student
from rewarm.report.result import Result
from rewarm.river.comparison import finished
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import BASE
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.types import StreamState, UserError

ENOUGH_DOCUMENTS = 30
"""From so many on, a bootstrap over documents is taken as it is; below, as Student's t widens it."""
FORGETS = 0.999
"""lambda of the annealing area, for each step (arXiv 2408.11029)."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """A finished pilot: changes of loss as shares of the base's, and their standard deviations by the choice of the
    scored documents, by corpus; `scored` is how many documents those are."""

    point: Point
    changes: dict[str, float]
    documents: dict[str, float]
    seconds: float
    tokens: int
    scored: dict[str, int] = field(default_factory=dict)


def at_settings(plan: Plan, peak: float, share: float, tokens: float) -> dict[str, Any]:
    """The plan's values with this peak, this share of replay and so many tokens in all, divided among its stages as
    they are in the plan."""
    values = plan.resolved()
    total = sum(stage["tokens"] for stage in values["stages"])
    for stage in values["stages"]:
        steps = max(1, round(tokens * stage["tokens"] / total / plan.batch_tokens))
        stage["tokens"], stage["learning_rate"] = steps * plan.batch_tokens, peak
        stage["replay"] = {**stage["replay"], "share": share}
    return values


def pilot_plan(plan: Plan, point: Point, work: Path) -> Plan:
    """The plan of one pilot."""
    values = at_settings(plan, point.peak, point.share, point.tokens)
    values |= {
        "output_dir": str(work / "pilots" / point.name), "seed": plan.seed + point.number, "controls": [],
        "eval_every": 0, "save_steps": None, "forecast": None,
    }  # fmt: skip
    values["watch"] = [{**watch, "part": "pilot"} for watch in values["watch"]]
    for stage in values["stages"] if point.why == "adapter" else ():
        stage["adapter"] = {"type": "lora"}
    return from_values(values)


def run_pilots(plan: Plan, points: Sequence[Point], work: Path, hooks: Hooks, of: str, before: int = 0) -> list[Pilot]:
    """The pilots at these points, run where they are not finished; `of` words their total for the progress, `before`
    is how many there were before these."""
    words = [
        "pilot with LoRA" if one.why == "adapter" else f"pilot {before + place}{of}"
        for place, one in enumerate(points, 1)
    ]
    return [_run(plan, point, work, hooks, word) for point, word in zip(points, words, strict=True)]


def _run(plan: Plan, point: Point, work: Path, hooks: Hooks, word: str) -> Pilot:
    own = pilot_plan(plan, point, work)

    def tell(label: str, done: float, total: float | None, unit: str) -> None:
        hooks.tell(f"{word}: {label}", done, total, unit)

    result = finished(own) or run(own, Hooks(tell, hooks.stop), command="rewarm plan", pages=False)
    directory = RunDirectory.of(own)
    for leg in directory.finished():
        shutil.rmtree(directory.model(leg), ignore_errors=True)
    return _read(point, result, directory)


def _read(point: Point, result: Result, directory: RunDirectory) -> Pilot:
    final = result.final()
    changes = {name: cell.relative for name, cell in final.cells.items()}
    spread = {}
    for name in final.cells:
        before, after = (load(directory.evaluations / leg / f"{name}.npz") for leg in (BASE, final.name))
        one = paired_delta(before, after, resamples=400)
        spread[name] = (one.high - one.low) / (2 * 1.96) / before.per_byte * few(name, len(before.bytes_D))
    seconds, tokens = sum(cost.seconds for cost in result.costs), sum(cost.tokens for cost in result.costs)
    return Pilot(point, changes, spread, seconds, tokens, {name: cell.documents for name, cell in final.cells.items()})


def few(name: str, documents: int) -> float:
    """How much wider than its bootstrap an interval of so few documents is: sqrt(n / (n - 1)), since the bootstrap's
    own variance is that of n drawn from n, times Student's t of n - 1 over 1.96. UserError for a single document."""
    if documents < 2:
        raise UserError(
            f"'{name}' has 1 document in the half of its held-out text that pilots are scored on, which tells nothing "
            "of what another would show: give more documents, or split its text into more"
        )
    if documents >= ENOUGH_DOCUMENTS:
        return 1.0
    return math.sqrt(documents / (documents - 1)) * student(documents - 1) / 1.96


def diverged(pilot: Pilot) -> bool:
    """Whether a pilot's loss is no number any more: laws cannot be fitted to it."""
    return not all(math.isfinite(change) for change in pilot.changes.values())


@dataclass(frozen=True, slots=True)
class Scales:
    """The references that settings are divided by: a peak, and the tokens of the budget."""

    plan: Plan
    peak: float
    tokens: int

    def settings(self, peak_N: Floats, share_N: Floats, tokens_N: Floats) -> Settings:
        """Learning rates, shares and tokens (N,) as laws see them."""
        areas = {tokens: self._areas(tokens) for tokens in set(tokens_N.tolist())}
        whole = self._areas(self.tokens)[0]
        area, annealed = (np.array([areas[one][part] for one in tokens_N.tolist()]) / whole for part in (0, 1))
        relative = peak_N / self.peak
        return Settings(relative, share_N, tokens_N / self.tokens, relative * area, relative * annealed)

    def _areas(self, tokens: float) -> tuple[float, float]:
        """S1 and S2 of the whole update at a peak of 1. Schedules that begin at 0 are proportional to their peak."""
        values = at_settings(self.plan, 1.0, 0.5, tokens)
        area = annealed = momentum = last = 0.0
        steps_before = 0
        for number, stage in enumerate(self.plan.stages):
            schedule: Any = stage.schedule
            steps = values["stages"][number]["tokens"] // self.plan.batch_tokens
            past = StreamState(number, steps_before, last)
            for step in range(steps):
                rate = schedule.rate(step, steps, 1.0, past)
                momentum = FORGETS * momentum + max(0.0, last - rate)
                area, annealed, last = area + rate, annealed + momentum, rate
            steps_before += steps
        return area, annealed
