"""Answers to suites on disk -> what a result says of them: each model on each suite, and X-Delta by ability.

Shapes: N items, S suites.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewarm.evaluation.intervals import NOISE, Interval, diverged, ratio_intervals
from rewarm.plan import Plan
from rewarm.report.part import RowKind, Verdict
from rewarm.report.suite_parts import AbilityDelta, SuiteMeasure, SuiteRow, Suites, SuiteSet
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import BASE, LegPlan
from rewarm.river.suite_sets import suites_of
from rewarm.river.suites import suite_answers
from rewarm.suites import ABILITIES, Answers, Measure, Suite, Values
from rewarm.types import UserError

TAIL = 0.025
"""What either bound of a 95 % interval leaves out."""
Controls = Sequence[tuple[str, RunDirectory, Sequence[LegPlan]]]


@dataclass(frozen=True, slots=True)
class _Model:
    """A model with its answers by suite."""

    name: str
    row: RowKind
    answers: Mapping[str, Answers]


def suites_of_run(
    plan: Plan, run: RunDirectory, planned: Sequence[LegPlan], controls: Controls, names: Mapping[str, str]
) -> Suites | None:
    """What a run's models have answered so far; None when it has no suite, or its base has not been asked.

    `names` has the name that each finished control goes by.
    """
    base = suite_answers(run, BASE, plan.suites)
    if not base:
        return None
    models = [_Model(BASE, "base", base)]
    finished = run.finished()
    for leg in (leg for leg in planned if leg.name in finished):
        row: RowKind = "stage" if leg.kind == "stage" else "release"
        models.append(_Model(leg.name, row, suite_answers(run, leg.name, base)))
    for word, directory, legs in controls:
        if word in names:
            last = [leg for leg in legs if leg.kind == "stage"][-1]
            models.append(_Model(names[word], "control", suite_answers(directory, last.name, base)))
    return collected(plan, models[0].answers, models[1:])


def suites_of_another(plan: Plan, base: Mapping[str, Answers], name: str, answers: Mapping[str, Answers]) -> Suites:
    """The suites with two rows: the run's base, and a model that is none of the run's."""
    return collected(plan, base, [_Model(name, "stage", answers)])


def collected(plan: Plan, base: Mapping[str, Answers], models: Iterable[_Model]) -> Suites:
    """Every suite with a row for the base and for each model that has been asked, and every ability's mean."""
    held = list(models)
    own = suites_of(plan)
    sets = [
        _set(name, own[name], answers, [one for one in held if name in one.answers]) for name, answers in base.items()
    ]
    shares = [one for one in sets if one.units[one.headline] == "share"]
    apart = [one.name for one in sets if one not in shares]
    abilities = [delta for model in held for delta in _abilities(model, shares)]
    return Suites(sets=sets, abilities=abilities, apart=apart)


def _set(name: str, suite: Suite, base: Answers, models: Sequence[_Model]) -> SuiteSet:
    rows = [SuiteRow(name=BASE, row="base", measures=_of_base(base), extra=dict(base.extra))]
    for model in models:
        after = model.answers[name]
        if after.ids != base.ids:
            raise UserError(
                f"suites.{name}: '{model.name}' was asked other items than the base ({len(after.ids)} and "
                f"{len(base.ids)}). Delete its file under evaluations, and run the plan again"
            )
        rows.append(SuiteRow(name=model.name, row=model.row, measures=_measures(base, after), extra=dict(after.extra)))
    return SuiteSet(
        name=name,
        kind=suite.method_name(),
        ability=suite.ability,
        headline=_headline(name, suite, base),
        items=len(base.ids),
        better={key: measure.better for key, measure in base.measures.items()},
        units={key: measure.unit for key, measure in base.measures.items()},
        left_out=dict(base.left_out),
        bad_rows=dict(base.bad_rows),
        rows=rows,
    )


def _headline(name: str, suite: Suite, base: Answers) -> str:
    """The measure that stands for a suite; UserError when the plan asks for one that it does not give."""
    if suite.headline is not None and suite.headline not in base.measures:
        raise UserError(
            f"suites.{name}: headline '{suite.headline}' is none of its measures ({', '.join(base.measures)})"
        )
    return suite.headline or next(iter(base.measures))


def _of_base(base: Answers) -> dict[str, SuiteMeasure]:
    return {
        key: SuiteMeasure(value=measure.value, items=int(measure.asked_N.sum()))
        for key, measure in base.measures.items()
    }


def _measures(base: Answers, after: Answers) -> dict[str, SuiteMeasure]:
    """Every measure that both have, over the items that both have. Those over the same items are drawn together."""
    both = {key: (base.measures[key], measure) for key, measure in after.measures.items() if key in base.measures}
    together: dict[bytes, list[str]] = defaultdict(list)
    found: dict[str, Interval] = {}
    for key, (before, now) in both.items():
        asked_N = before.asked_N & now.asked_N
        if not np.isfinite([before.value, now.value]).all() or not asked_N.any():
            found[key] = _not_finite(before, now)
        else:
            together[asked_N.tobytes()].append(key)
    for keys in together.values():
        asked_N = both[keys[0]][0].asked_N & both[keys[0]][1].asked_N
        pairs = [
            ((now.values_N - before.values_N)[asked_N], before.weights[asked_N])
            for before, now in (both[key] for key in keys)
        ]
        lower = [both[key][1].better == "lower" for key in keys]
        drawn = zip(keys, pairs, ratio_intervals(pairs, lower), strict=True)
        found |= {key: _bounded(one, pair[0], both[key][1]) for key, pair, one in drawn}
    return {
        key: SuiteMeasure(
            value=both[key][1].value, items=int(both[key][1].asked_N.sum()), delta=one.delta, low=one.low,
            high=one.high, verdict=one.verdict,
        )
        for key, one in ((key, found[key]) for key in both)
    }  # fmt: skip


def _bounded(one: Interval, difference_N: Values, measure: Measure) -> Interval:
    """The interval of a share on whose items a model and the base differ alike, mostly not at all. No draw differs
    from another, which is no certainty: of so many items, so many more could have fallen out otherwise at a chance of
    2.5 % (the exact bound of Clopper and Pearson 1934)."""
    if measure.unit != "share" or measure.weights_N is not None or np.ptp(difference_N) > 0:
        return one
    room = 1 - TAIL ** (1 / len(difference_N))
    low, high = max(-1.0, one.delta - room), min(1.0, one.delta + room)
    if low <= 0 <= high:
        return Interval(one.delta, low, high, NOISE)
    return Interval(one.delta, low, high, "better" if (low > 0) == (measure.better == "higher") else "worse")


def _not_finite(before: Measure, after: Measure) -> Interval:
    """The model whose measure is no finite number has diverged: it is infinitely worse."""
    one = diverged(before.value, after.value)
    if before.better == "lower":
        return one
    return Interval(-one.delta, -one.high, -one.low, one.verdict)


def _abilities(model: _Model, sets: Sequence[SuiteSet]) -> list[AbilityDelta]:
    """X-Delta of each ability that the model was asked about."""
    found = []
    for ability in ABILITIES:
        changes = {one.name: change for one in sets if one.ability == ability and (change := _change(one, model.name))}
        if changes:
            delta, low, high = mean_change(list(changes.values()))
            worst = min(changes, key=lambda name: changes[name][0])
            found.append(
                AbilityDelta(
                    name=model.name, row=model.row, ability=ability, suites=list(changes), delta=delta, low=low,
                    high=high, verdict=_verdict(low, high), worst=(worst, changes[worst][0]),
                )
            )  # fmt: skip
    return found


def _change(one: SuiteSet, model: str) -> tuple[float, float, float] | None:
    """The change of a suite's headline and its bounds, above 0 for better; None for the base or an unasked model."""
    measures: Any = next((row.measures for row in one.rows if row.name == model and row.row != "base"), {})
    held = measures.get(one.headline)
    if held is None:
        return None
    if one.better[one.headline] == "higher":
        return held.delta, held.low, held.high
    return -held.delta, -held.high, -held.low


def mean_change(changes: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """The mean of changes given with their bounds. Suites share no items, so their errors are independent: the
    half-widths add in squares."""
    count = len(changes)
    delta = sum(change for change, _, _ in changes) / count
    below = math.sqrt(sum((change - low) ** 2 for change, low, _ in changes)) / count
    above = math.sqrt(sum((high - change) ** 2 for change, _, high in changes)) / count
    return delta, delta - below, delta + above


def _verdict(low: float, high: float) -> Verdict:
    return "better" if low > 0 else "worse" if high < 0 else NOISE
