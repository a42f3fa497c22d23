"""What a comparison would do, before it does it: arms, runs, steps, disk, memory, time. Nothing is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm.plan import Plan, Scratch
from rewarm.river import costs
from rewarm.river.comparison import TUNING_SEED, check, default_output, finished, run_plan
from rewarm.river.costs import Need
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import Forecast, forecast
from rewarm.river.pinning import as_begun
from rewarm.river.variants import Arm, tunings, with_controls


@dataclass(frozen=True, slots=True)
class ArmOutlook:
    """An arm: what it changes, steps and tokens of one run, how many runs it takes, and how many have finished."""

    name: str
    kind: str
    change: dict[str, Any]
    steps: int
    tokens: int
    runs: int
    finished: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """A comparison to come. `seconds` by kind of work are those of what is left, at the pace of plain training; empty
    when they were not asked for."""

    output: str
    arms: list[ArmOutlook]
    runs: int
    finished: int
    needs: list[Need]
    seconds: dict[str, float]
    how: str
    warnings: list[str]

    def described(self) -> dict[str, Any]:
        """The outlook as plain values."""
        return dataclasses.asdict(self)

    def faults(self) -> list[str]:
        """Why the comparison cannot fit on this machine, one sentence for each need."""
        return costs.faults(self.needs)

    def refuse(self) -> None:
        """UserError when the disk or the memory cannot hold the comparison."""
        costs.refuse(self.needs)


def outlook(
    plan: Plan, arms: Sequence[Arm], seeds: int = 3, output: Path | None = None, tune: bool = False, timed: bool = False
) -> Outlook:
    """The outlook of `comparison.compare` with the same arguments; UserError for whatever is already known to be wrong.

    With `timed`, a small model makes a few steps to see how long they take.
    """
    root = output or default_output(plan)
    every = with_controls(arms)
    check(plan, every, seeds)
    candidates = {arm.name: tunings(arm) if tune else [] for arm in every}
    looked = _Looked(as_begun(plan, root), root, range(1, seeds + 1), tuning=any(candidates.values()))
    plain = forecast(looked.plan_of(every[0]), timed)
    forecasts = {
        arm.name: forecast(looked.plan_of(arm)) if arm.kind == "variant" else plain  # the rest only weighs otherwise
        for arm in every
    }
    rows = []
    for arm in every:
        tried = candidates[arm.control_of or arm.name]
        named = [one for one in with_controls(tried) if one.kind == arm.kind] or [arm]
        rows.append(looked.row(arm, named, len(candidates[arm.name]), forecasts[arm.name]))
    left = {row.name: row.runs - row.finished for row in rows}
    return Outlook(
        output=str(root),
        arms=rows,
        runs=sum(row.runs for row in rows),
        finished=sum(row.finished for row in rows),
        needs=_needs(plain, forecasts, left),
        seconds=_seconds(plain, sum(left.values())),
        how=plain.how,
        warnings=plain.warnings,
    )


@dataclass(frozen=True, slots=True)
class _Looked:
    """Where a comparison's runs would lie, and which are there; `tuning` says that the learning rates are swept once
    more, for the tuning."""

    plan: Plan
    root: Path
    seeds: range
    tuning: bool

    def plan_of(self, arm: Arm, seed: int = 1) -> Plan:
        """The plan of one run of an arm, on the comparison's own base if that was made from scratch already."""
        folder = RunDirectory(self.root).base
        base = str(folder) if isinstance(self.plan.base, Scratch) and folder.is_dir() else None
        return run_plan(self.plan, arm, seed, self.root, base)

    def row(self, arm: Arm, named: Sequence[Arm], tried: int, found: Forecast) -> ArmOutlook:
        """What is known of an arm. `named` are the arms that may become it, of which the first `tried` are tuned."""
        tuned = [arm] if arm.kind == "sweep" and self.tuning else named[:tried]
        # Which value goes on is not known yet: the one with the most finished runs, if any has.
        done = max(self._done(one, self.seeds) for one in named)
        done += sum(self._done(one, [TUNING_SEED]) for one in tuned)
        return ArmOutlook(
            name=arm.name,
            kind=arm.kind,
            change=arm.change(),
            steps=sum(leg.steps for leg in found.legs),
            tokens=sum(leg.tokens for leg in found.legs),
            runs=len(self.seeds) + len(tuned),
            finished=done,
        )

    def _done(self, arm: Arm, numbers: Iterable[int]) -> int:
        return sum(finished(self.plan_of(arm, number)) is not None for number in numbers)


def _seconds(plain: Forecast, left: int) -> dict[str, float]:
    """Tokens are prepared once; everything else is done by each run."""
    return {kind: part * (1 if kind == "prepare" else left) for kind, part in plain.seconds.items()}


def _needs(plain: Forecast, forecasts: Mapping[str, Forecast], left: Mapping[str, int]) -> list[Need]:
    """Disk: models of every run to come; tokens are there once, and checkpoints while a run is under way. Memory: that
    of the largest run."""
    needs = []
    for need in plain.needs[:-1]:
        parts = dict(need.parts)
        if "models" in parts:
            parts["models"] = sum(_models(forecasts[name]) * runs for name, runs in left.items())
        remedy = "Make room, compare fewer variants or seeds, or put the output elsewhere"
        needs.append(dataclasses.replace(need, parts=parts, needed=sum(parts.values()), remedy=remedy))
    return [*needs, max((found.needs[-1] for found in forecasts.values()), key=lambda need: need.needed)]


def _models(found: Forecast) -> int:
    return next((need.parts["models"] for need in found.needs if "models" in need.parts), 0)
