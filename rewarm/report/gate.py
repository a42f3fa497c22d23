"""The gate: does the final model forget little enough and learn enough? A failed gate is exit code 2, not an error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rewarm.report.fact_parts import FactShare
from rewarm.report.facts import bounds
from rewarm.report.result import Result
from rewarm.report.suite_gate import Condition, judge
from rewarm.report.wording import Change, change, columns, percent, percent_with_interval, share
from rewarm.types import UserError


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """`passed` when every criterion held on every corpus; `sentences` has one line per criterion and corpus."""

    passed: bool
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FactLimits:
    """`max_lost` is the largest share of the unchanged facts that the base knew which the model may have lost, in any
    set of probes; `min_learned` the smallest share of the changed, and of the new, that it must have learned, in every
    set."""

    max_lost: float | None = None
    min_learned: float | None = None


NO_LIMITS = FactLimits()


def check(
    result: Result,
    max_forget: float | None = None,
    min_gain: float | None = None,
    strict: bool = False,
    facts: FactLimits = NO_LIMITS,
    conditions: Sequence[Condition] = (),
) -> GateOutcome:
    """Holds the final model of the main run against the criteria that are given.

    `max_forget` is the largest relative rise of loss allowed on any old corpus (0.02 is 2%), `min_gain` the smallest
    relative fall of loss required on every new one. They are judged by the point estimate, or with `strict` by the
    bound of the 95% interval that is harder to meet; when the point passes and the bound does not, the sentence says
    so. A loss that is no finite number never passes. `conditions` are on suites and abilities.

    UserError when no criterion is given or one is out of its range, when the run is not complete, and when there is no
    watched corpus, no fact or no suite for a criterion.
    """
    _check_arguments(result, (max_forget, min_gain), facts, conditions)
    outcomes = []
    if max_forget is not None:
        outcomes += [_forgetting(name, one, max_forget, strict) for name, one in _changes(result, "old", "max_forget")]
    if min_gain is not None:
        outcomes += [_gain(name, one, min_gain, strict) for name, one in _changes(result, "new", "min_gain")]
    if facts.max_lost is not None:
        outcomes += [_lost(name, one, facts.max_lost, strict) for name, one in _held(result, ("unchanged",))]
    if facts.min_learned is not None:
        outcomes += [_learned(name, one, facts.min_learned, strict) for name, one in _held(result, ("changed", "new"))]
    for one in conditions:
        passed, said, unproven = judge(result, one, strict)
        outcomes.append((passed, _sentence(passed, said, unproven)))
    return GateOutcome(all(passed for passed, _ in outcomes), tuple(sentence for _, sentence in outcomes))


def _check_arguments(
    result: Result, losses: tuple[float | None, float | None], facts: FactLimits, conditions: Sequence[Condition]
) -> None:
    given = {"max_facts_lost": facts.max_lost, "min_facts_learned": facts.min_learned}
    if not conditions and all(limit is None for limit in (*losses, *given.values())):
        raise UserError(
            "the gate has no criterion: give max_forget, min_gain, max_facts_lost or min_facts_learned, such as 2% or "
            "0.02, or require something of a suite"
        )
    for name, limit in given.items():
        if limit is not None and not 0 <= limit <= 1:
            raise UserError(f"{name} {limit} must be from 0 to 1; it is a share of facts, such as 10% or 0.1")
    for name, limit in zip(("max_forget", "min_gain"), losses, strict=True):
        if limit is not None and not 0 <= limit < math.inf:
            raise UserError(f"{name} {limit} must be 0 or more; it is a share of the base's loss, such as 2% or 0.02")
    if not result.complete or result.final().kind == "base":
        raise UserError(
            "the run is not complete, so there is no final model to judge: run the same command again first"
        )


def _changes(result: Result, role: Literal["old", "new"], criterion: str) -> list[tuple[str, Change]]:
    named = [(column.name, change(result, result.final(), column.name)) for column in columns(result, role)]
    if not named:
        raise UserError(
            f"{criterion} needs a watched corpus of {role} text and the run has none: add one under 'watch' in the plan"
        )
    unscored = [name for name, one in named if one is None]
    if unscored:
        raise UserError(f"the final model was not scored on {', '.join(unscored)}: score it there, then judge it")
    return [(name, one) for name, one in named if one is not None]


def _forgetting(name: str, one: Change, limit: float, strict: bool) -> tuple[bool, str]:
    # Written so that a loss that is no number fails: every comparison with it is false.
    return _judged(f"{name} (old)", one, one.point <= limit, one.high <= limit, f"allowed {percent(limit)}", strict)


def _gain(name: str, one: Change, limit: float, strict: bool) -> tuple[bool, str]:
    return _judged(f"{name} (new)", one, one.point <= -limit, one.high <= -limit, f"required {percent(-limit)}", strict)


def _held(result: Result, kinds: tuple[str, ...]) -> list[tuple[str, FactShare]]:
    """What the final model holds of the facts of some kinds, by set and kind."""
    sets = [] if result.facts is None else result.facts.sets
    rows = [(one.name, row) for one in sets for row in one.rows if row.name == result.final().name]
    shares = [
        (f"{kind} facts of {name}", row.cells[kind].held) for name, row in rows for kind in kinds if kind in row.cells
    ]
    held = [(what, one) for what, one in shares if one is not None]
    if not held:
        raise UserError(
            f"no probe of the run asks {' or '.join(kinds)} facts of which the base leaves something to measure: add a "
            "set of them under 'probes' in the plan"
        )
    return held


def _lost(what: str, one: FactShare, limit: float, strict: bool) -> tuple[bool, str]:
    lost = FactShare(value=1 - one.value, low=1 - one.high, high=1 - one.low, facts=one.facts)
    point, proven = lost.value <= limit, lost.high <= limit
    return _said(f"lost of {what}", lost, point, proven, f"allowed {share(limit)} or less", strict)


def _learned(what: str, one: FactShare, limit: float, strict: bool) -> tuple[bool, str]:
    point, proven = one.value >= limit, one.low >= limit
    return _said(f"learned of {what}", one, point, proven, f"required {share(limit)} or more", strict)


def _said(what: str, one: FactShare, point: bool, proven: bool, asked: str, strict: bool) -> tuple[bool, str]:
    passed = proven if strict else point
    return passed, _sentence(passed, f"{what}: {share(one.value)} {bounds(one)}, {asked}", point and not proven)


def _judged(what: str, one: Change, point: bool, proven: bool, asked: str, strict: bool) -> tuple[bool, str]:
    passed = proven if strict else point
    return passed, _sentence(passed, f"{what} {percent_with_interval(one)}, {asked} or lower", point and not proven)


def _sentence(passed: bool, said: str, unproven: bool) -> str:
    more = "; the point estimate passes, but the interval does not prove it" if unproven else ""
    return f"{'pass' if passed else 'fail'}: {said}{more}."
