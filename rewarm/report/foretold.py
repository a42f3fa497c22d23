"""What a plan was expected to do, held against what it did: the report's section on the forecast of `rewarm plan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewarm.expected import changed
from rewarm.quantities import clock
from rewarm.report.forecast_parts import Forecasted, ForecastOf
from rewarm.report.result import Result
from rewarm.report.wording import Change, change, counted, listed, percent, percent_with_interval

MEANING = (
    "Changes of loss against the base as rewarm plan forecast them from short pilots, with their intervals, beside "
    "what came out. Pilots are scored on one half of the held-out documents, the run on the other. The outcome's own "
    "interval speaks of the choice of documents; whether it is inside goes by its point."
)
HEADS = ("Corpus", "Role", "Forecast", "Outcome", "Inside", "Law")


def held_against(result: Result) -> Result:
    """The result with its forecast, where its plan has one, beside the outcome; unchanged otherwise.

    Before a run is complete there is no outcome to hold against.
    """
    expected: dict[str, Any] | None = result.plan.get("forecast")
    if expected is None:
        return result
    own = [row for row in result.rows if row.kind in ("stage", "release") and row.stage == expected["stage"]]
    final, corpora = own[-1] if own else result.final(), []
    for column in result.columns:
        one = expected["changes"].get(column.name)
        if one is None:
            continue
        found = change(result, final, column.name) if result.complete and final.kind != "base" else None
        corpora.append(
            ForecastOf(
                corpus=column.name,
                role=column.role,
                law=one["law"],
                point=one["point"],
                low=one["low"],
                high=one["high"],
                outcome=None if found is None else found.point,
                outcome_low=None if found is None else found.low,
                outcome_high=None if found is None else found.high,
                inside=None if found is None else one["low"] <= found.point <= one["high"],
            )
        )
    told = Forecasted(
        corpora=corpora,
        confidence=expected["confidence"],
        max_forget=expected["max_forget"],
        seconds=expected["seconds"],
        outcome_seconds=sum(cost.seconds for cost in result.costs if cost.run == "") if result.complete else None,
        pilots=expected["pilots"],
        changed=changed(result.plan),
    )
    return result.model_copy(update={"forecast": told})


def sentences(told: Forecasted) -> list[str]:
    """What came of the forecast, in words."""
    known = [one for one in told.corpora if one.inside is not None]
    if not known:
        return ["The run is not complete, so the forecast has no outcome yet."]
    missed = [one.corpus for one in known if not one.inside]
    said = [
        f"{len(known) - len(missed)} of {counted(len(known), 'forecast')} came out inside the "
        f"{100 * told.confidence:g}% interval" + (f"; outside: {listed(missed)}." if missed else ".")
    ]
    if told.max_forget is not None:
        over = [one.corpus for one in known if one.role == "old" and (one.outcome or 0) > told.max_forget]
        limit = percent(told.max_forget)
        said.append(f"Old text was to lose no more than {limit}: {'not kept for ' + listed(over) if over else 'kept'}.")
    if told.seconds is not None and told.outcome_seconds is not None:
        said.append(f"Training was to take {clock(told.seconds)} and took {clock(told.outcome_seconds)}.")
    if told.changed:
        said.append(f"The plan was changed since; the forecast does not speak of this run: {'; '.join(told.changed)}.")
    return said


def lines(told: Forecasted) -> list[Sequence[str]]:
    """A line of cells for each corpus, under `HEADS`."""
    return [
        (
            one.corpus,
            one.role,
            percent_with_interval(Change(one.point, one.low, one.high)),
            _outcome(one),
            "not known yet" if one.inside is None else "inside" if one.inside else "outside",
            one.law,
        )
        for one in told.corpora
    ]


def _outcome(one: ForecastOf) -> str:
    if one.outcome is None or one.outcome_low is None or one.outcome_high is None:
        return "not known yet"
    return percent_with_interval(Change(one.outcome, one.outcome_low, one.outcome_high))
