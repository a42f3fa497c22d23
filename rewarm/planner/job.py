"""Pilots -> laws -> a plan with its forecast, or the advice to leave the base as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rewarm.expected import Foretold
from rewarm.plan import Plan
from rewarm.planner import saying
from rewarm.planner.asked import Asked
from rewarm.planner.design import SHARES, SWEEP, Point
from rewarm.planner.judging import Corpus, judge
from rewarm.planner.pilots import Pilot, Scales, diverged, run_pilots
from rewarm.planner.refusing import Refusal, gains_too_little, no_share_holds, only_divergence, too_small
from rewarm.planner.room import Text, check_pilots, settings, sound_peaks, text_of
from rewarm.planner.solving import Solved, Wanted, solve
from rewarm.planner.writing import chosen_plan, foretold, write
from rewarm.planner.writing import text_of as written
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import Forecast, forecast
from rewarm.river.train import Hooks
from rewarm.types import UserError

ADAPTER_NUMBER = 90
RESULT = "planning.json"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a planning would take, before it does it: pilots, their tokens and those of the update, and seconds by kind
    of work, of the pilots and of the update."""

    pilots: int
    pilot_tokens: int
    budget: int
    share: float
    seconds: dict[str, float]
    update_seconds: float
    how: str
    base: Forecast


@dataclass(slots=True)
class Planned:
    """What came of a planning. `plan` is None where the advice is to leave the base as it is; `refusal` says why."""

    asked: Asked
    pilots: list[Pilot]
    lost: list[Point]
    corpora: list[Corpus] = field(default_factory=list)
    solved: Solved | None = None
    expected: Foretold | None = None
    plan: Plan | None = None
    text: str = ""
    refusal: Refusal | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> list[str]:
        """The pilots that laws are not fitted to, and why."""
        return [f"{one.name}: its loss is no number" for one in self.lost]


def outlook(asked: Asked, timed: bool = True) -> Outlook:
    """What a planning would take; UserError for whatever is already known to be wrong of its text or base."""
    whole = forecast(asked.plan, timed)
    part = asked.design.tokens / asked.budget
    seconds = {
        kind: one * {"prepare": 1.0, "train": part, "score": float(asked.design.pilots)}.get(kind, 0.0)
        for kind, one in whole.seconds.items()
    }
    update = sum(one for kind, one in whole.seconds.items() if kind != "prepare")
    return Outlook(
        asked.design.pilots, asked.design.tokens, asked.budget, part, seconds, update, whole.how, whole
    )  # fmt: skip


def plan_update(asked: Asked, hooks: Hooks | None = None, foreseen: Forecast | None = None) -> Planned:
    """Runs what pilots are missing, fits the laws, and writes the plan, or says why there is none. `foreseen` is the
    forecast of the plan that is asked for, where it has been made.

    UserError when the text or the base cannot be used or the pilots' folder is that of another planning, Stopped when
    the hooks ask to stop; the same call goes on. Nothing is written to `out` without a plan.
    """
    hooks = hooks or Hooks()
    foreseen = foreseen or forecast(asked.plan)
    foreseen.refuse()
    directory = RunDirectory(asked.work)
    with directory.locked():
        directory.claim(asked.plan)
        if directory.recorded("started") is None:
            directory.record("started", pilots=asked.design.pilots)
        found = Planned(asked, [], [])
        found.refusal = too_small(asked, foreseen)
        if found.refusal is None:
            check_pilots(asked, text_of(asked, foreseen))
            _decide(found, foreseen, hooks)
        directory.write_json(RESULT, described(found))
        if found.plan is not None:
            write(asked.out, found.text)
    return found


def _decide(found: Planned, foreseen: Forecast, hooks: Hooks) -> None:
    """Runs the pilots, fits, solves, and fills in what was found."""
    asked, of = found.asked, f" of {found.asked.design.pilots}"

    def run(points: Sequence[Point]) -> list[Pilot]:
        made = run_pilots(asked.plan, points, asked.work, hooks, of, len(found.pilots) + len(found.lost))
        found.lost += [one.point for one in made if diverged(one)]
        found.pilots += [one for one in made if not diverged(one)]
        return [one for one in made if not diverged(one)]

    swept = run(asked.design.sweep(asked.plan.stages[0].learning_rate))
    if asked.design.sweeps and not swept:
        found.refusal = only_divergence(found.left_out)
        return
    highest = asked.ending.peak if asked.ending.peak is not None else _learns_most(asked, swept)
    run(asked.design.grid(highest))
    if not all(one.counted for one in foreseen.corpora):
        foreseen = forecast(asked.plan)  # by now the pilots have counted the text
    text = text_of(asked, foreseen)
    scales = Scales(asked.plan, highest / 10**0.5, asked.budget)
    first = _solved(found, scales, text, reaching=False)
    if first is None:
        return
    # Rounded, so that the pilot has the same name when the same command goes on.
    peak, share = float(f"{first.peak:.2g}"), float(f"{first.share:.2g}")
    tokens = int(min(asked.design.long, first.tokens, text.room(share)))
    run([Point(len(SWEEP) + 11, "long", peak, share, tokens)])
    found.solved = _solved(found, scales, text)
    if found.solved is None:
        return
    found.notes = [*saying.laws(found.corpora), *saying.pilots_notes(asked, found.pilots, text)]
    if found.lost:
        found.notes.append(f"left out: {'; '.join(found.left_out)}")
    found.notes += saying.plan_notes(found.solved, found.corpora, found.pilots, text)
    _conclude(found, run)


def _conclude(found: Planned, run: Any) -> None:
    """A plan, or why there is none; then an adapter is tried, too."""
    asked, solved = found.asked, found.solved
    assert solved is not None  # _decide has set it
    if not solved.met:
        found.refusal = no_share_holds(asked, solved, found.corpora)
    else:
        found.refusal = gains_too_little(asked, solved, found.corpora)
    if found.refusal is not None:
        known = len(found.pilots)
        middle = Point(
            ADAPTER_NUMBER, "adapter", float(f"{solved.peak:.2g}"), SHARES[1], asked.design.lengths[2]
        )  # fmt: skip
        tried_adapter = run([middle])
        del found.pilots[known:]  # of another kind than what laws were fitted to
        found.refusal = found.refusal.with_adapter(tried_adapter, asked, found.corpora)
        return
    found.expected = foretold(asked, found.corpora, solved, found.pilots)
    found.plan = chosen_plan(asked.plan, solved, found.expected)
    found.text = written(found.plan, reasons(found))


def _solved(found: Planned, scales: Scales, text: Text, reaching: bool = True) -> Solved | None:
    """The best settings by the pilots that there are, at peaks below all that diverged; None, with the refusal, where
    there is no such peak."""
    asked = found.asked
    peaks = sound_peaks([one.point for one in found.pilots], found.lost)
    if not peaks:
        found.refusal = only_divergence(found.left_out)
        return None
    found.corpora = _judged(found, scales)
    grid = settings(asked, text, peaks)
    at = scales.settings(grid.peak_G, grid.share_G, grid.tokens_G)
    return solve(found.corpora, grid, at, Wanted(asked.max_forget, asked.min_gain), reaching)


def _learns_most(asked: Asked, swept: Sequence[Pilot]) -> float:
    """The peak of a sweep that learned most of the new text."""
    new = [watch.corpus for watch in asked.plan.watch if asked.plan.role(watch.corpus) == "new"]
    return min(swept, key=lambda one: sum(one.changes[name] for name in new)).point.peak


def _judged(found: Planned, scales: Scales) -> list[Corpus]:
    """The laws of every watched corpus."""
    if len(found.pilots) < 8:
        raise UserError(
            f"only {len(found.pilots)} pilots ended with a loss that is a number, too few to fit a law to: "
            f"{'; '.join(found.left_out)}. Give a base that says its peak, or lower it"
        )
    points = [one.point for one in found.pilots]
    seen = scales.settings(
        np.array([one.peak for one in points]),
        np.array([one.share for one in points]),
        np.array([float(one.tokens) for one in found.pilots]),
    )
    longest = max(found.pilots, key=lambda one: one.tokens)
    return [
        judge(
            watch.corpus,
            found.asked.plan.role(watch.corpus),
            seen,
            np.array([one.changes[watch.corpus] for one in found.pilots]),
            longest.documents[watch.corpus],
        )
        for watch in found.asked.plan.watch
    ]


def reasons(found: Planned) -> list[str]:
    """Why the plan is what it is, sentence by sentence."""
    assert found.solved is not None
    assert found.plan is not None
    told = saying.reasons(found.asked, found.plan, found.corpora, found.solved, len(found.pilots))
    return [*told, *found.notes]


def described(found: Planned) -> dict[str, Any]:
    """What was found, as plain values."""
    solved = found.solved
    return {
        "decision": "train" if found.plan is not None else "do not CPT",
        "reason": None if found.refusal is None else found.refusal.text,
        "advice": None if found.refusal is None else found.refusal.advice,
        "max_forget": found.asked.max_forget,
        "min_gain": found.asked.min_gain,
        "base": dataclasses.asdict(found.asked.ending),
        "pilots": [dataclasses.asdict(one) for one in found.pilots],
        "left_out": found.left_out,
        "laws": {
            one.name: [
                {
                    "law": law.name, "baseline": law.fitted.law.baseline, "chosen": law is one.best,
                    "error": law.error, "points": law.points, "reach": law.reach,
                    "parameters": law.fitted.theta_K.tolist(), "scale": law.fitted.scale,
                }
                for law in one.laws
            ]
            for one in found.corpora
        },
        "solved": solved and {
            "peak": solved.peak, "share": solved.share, "tokens": solved.tokens, "met": solved.met,
            "forecasts": {
                name: {
                    "point": float(one.point_G[0]), "low": float(one.low_G[0]), "high": float(one.high_G[0]),
                    "parts": {part: float(sd[0]) for part, sd in one.parts.items()},
                }
                for name, one in solved.forecasts.items()
            },
        },
        "notes": found.notes,
        "plan": None if found.plan is None else str(found.asked.out),
    }  # fmt: skip
