"""The gate: does the final model forget little enough and learn enough? A failed gate is exit code 2, not an error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rewarm.report.result import Result
from rewarm.report.wording import Change, change, columns, percent, percent_with_interval
from rewarm.types import UserError


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """`passed` when every criterion held on every corpus; `sentences` has one line per criterion and corpus."""

    passed: bool
    sentences: tuple[str, ...]


def check(
    result: Result, max_forget: float | None = None, min_gain: float | None = None, strict: bool = False
) -> GateOutcome:
    """Holds the final model of the main run against one or both criteria.

    `max_forget` is the largest relative rise of loss allowed on any old corpus (0.02 is 2%), `min_gain` the smallest
    relative fall of loss required on every new one. They are judged by the point estimate, or with `strict` by the
    bound of the 95% interval that is harder to meet; when the point passes and the bound does not, the sentence says
    so. A loss that is no finite number never passes.

    UserError when no criterion is given or one is negative, when the run is not complete, and when there is no watched
    corpus for a criterion.
    """
    _check_arguments(result, max_forget, min_gain)
    outcomes = []
    if max_forget is not None:
        outcomes += [_forgetting(name, one, max_forget, strict) for name, one in _changes(result, "old", "max_forget")]
    if min_gain is not None:
        outcomes += [_gain(name, one, min_gain, strict) for name, one in _changes(result, "new", "min_gain")]
    return GateOutcome(all(passed for passed, _ in outcomes), tuple(sentence for _, sentence in outcomes))


def _check_arguments(result: Result, max_forget: float | None, min_gain: float | None) -> None:
    if max_forget is None and min_gain is None:
        raise UserError("the gate has no criterion: give max_forget, min_gain or both, such as 2% or 0.02")
    for name, limit in (("max_forget", max_forget), ("min_gain", min_gain)):
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


def _judged(what: str, one: Change, point: bool, proven: bool, asked: str, strict: bool) -> tuple[bool, str]:
    passed = proven if strict else point
    sentence = f"{'pass' if passed else 'fail'}: {what} {percent_with_interval(one)}, {asked} or lower"
    if point and not proven:
        sentence += "; the point estimate passes, but the interval does not prove it"
    return passed, f"{sentence}."
