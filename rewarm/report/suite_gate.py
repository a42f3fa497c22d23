"""Conditions of the gate on suites: `suite:chat.stop_rate >= -5%`, `ability:general >= -1%`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from rewarm.methods import nearest
from rewarm.report import suites
from rewarm.report.part import Part
from rewarm.report.result import Result
from rewarm.report.suite_parts import AbilityDelta, SuiteMeasure
from rewarm.report.wording import signed
from rewarm.types import UserError

_FORM = re.compile(r"\s*(suite|value|ability):([\w.-]+?)\s*(>=|<=)\s*([-+\u2212]?[\d.]+(?:e[-+]?\d+)?)\s*(%?)\s*", re.I)
_HELP = (
    "give suite:NAME.MEASURE >= NUMBER for a change against the base (without .MEASURE its headline), value: for the "
    "measure itself, or ability:NAME for the mean over an ability's suites; >= or <=, as -0.05 or -5%"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a number must be: `what` is the change of a suite's measure (`suite`), the measure itself (`value`), or the
    change of an ability (X-Delta, above 0 is better)."""

    what: Literal["suite", "value", "ability"]
    name: str
    at_least: bool
    limit: float


def parse(text: str) -> Condition:
    """The condition that a text writes; UserError when it is none."""
    found = _FORM.fullmatch(text)
    try:
        limit = float(found[4].replace("\u2212", "-")) if found else math.nan
    except ValueError:
        limit = math.nan
    if found is None or not math.isfinite(limit):
        raise UserError(f"'{text}' is no condition: {_HELP}")
    what = found[1].lower()
    assert what in ("suite", "value", "ability")  # the form allows no other
    return Condition(what, found[2], found[3] == ">=", limit / 100 if found[5] else limit)  # type: ignore[arg-type]


def judge(result: Result, one: Condition, strict: bool) -> tuple[bool, str, bool]:
    """Whether the final model meets a condition, what is to be said, and whether only the point estimate meets it.

    With `strict` the bound of the 95 % interval that is harder to meet decides; `value` has no interval. UserError when
    the run has no such suite, measure or ability.
    """
    if one.what == "ability":
        held = _ability(result, one.name)
        return _met(one, f"{suites.ABILITIES[held.ability]}, {_worst(held)}", (held.delta, held.low, held.high), strict)
    name, measure, found, unit = _measure(result, one.name)
    said = f"{name} {measure.replace('_', ' ')}"
    if one.what == "value":
        return _met(one, said, (found.value, found.value, found.value), strict, unit)
    return _met(one, f"change of {said}", (found.delta, found.low, found.high), strict, unit)


def _met(
    one: Condition, said: str, number: tuple[float, float, float], strict: bool, unit: str = "share"
) -> tuple[bool, str, bool]:
    value, low, high = number
    # Written so that no number fails: every comparison with it is false.
    point = value >= one.limit if one.at_least else value <= one.limit
    proven = low >= one.limit if one.at_least else high <= one.limit
    scale, digits = (100, 1) if unit == "share" else (1, 3)
    if one.what == "value":
        shown, bounds, mark = f"{scale * value:.{digits}f}", "", "%" if unit == "share" else unit
        asked = f"{scale * one.limit:.{digits}f}"
    else:
        shown, asked = (signed(scale * number, digits) for number in (value, one.limit))
        bounds = f" [{signed(scale * low, digits)}, {signed(scale * high, digits)}]"
        mark = "points" if unit == "share" else unit
    text = f"{said}: {shown}{bounds} {mark}, required {asked} or {'more' if one.at_least else 'less'}"
    return (proven if strict else point), text, point and not proven


def _worst(held: AbilityDelta) -> str:
    name, lost = held.worst
    return f"worst {name} {suites.points(lost)}"


def _ability(result: Result, name: str) -> AbilityDelta:
    own = [] if result.suites is None else result.suites.abilities
    held = {one.ability: one for one in own if one.name == result.final().name}
    if name not in held:
        raise UserError(_nothing(result, f"no ability '{name}' was measured of the final model", list(held), name))
    return next(one for ability, one in held.items() if ability == name)


def _measure(result: Result, name: str) -> tuple[str, str, SuiteMeasure, str]:
    """A suite's name, one of its measures, what the final model reached, and its unit."""
    sets = {} if result.suites is None else {one.name: one for one in result.suites.sets}
    # A name of a suite may hold dots itself.
    suite, _, measure = (name, "", "") if name in sets else name.rpartition(".")
    if suite not in sets:
        raise UserError(_nothing(result, f"no suite is called '{suite or name}'", list(sets), suite or name))
    one = sets[suite]
    measure = measure or one.headline
    row: Part | None = next((row for row in one.rows if row.name == result.final().name), None)
    measures: dict[str, SuiteMeasure] = getattr(row, "measures", {})
    if measure not in measures:
        raise UserError(
            f"suite '{suite}' has no measure '{measure}' of the final model. {nearest(measure, list(one.better))}"
        )
    return suite, measure, measures[measure], one.units[measure]


def _nothing(result: Result, fault: str, there: list[str], name: str) -> str:
    if not there:
        return f"{fault}: the run has none. Add one under 'suites' in the plan"
    return f"{fault}. {nearest(name, there)}"
