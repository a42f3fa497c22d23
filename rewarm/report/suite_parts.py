"""The part of a result that speaks of suites: what each model can do, and what became of each ability."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rewarm.report.part import Part, RowKind, Verdict

Ability = Literal["general", "instruction", "safety", "domain"]


class SuiteMeasure(Part):
    """A measure over the `items` that have it, and its change against the base on the same items with the 95 %
    interval (paired bootstrap over items)."""

    value: float
    items: int
    delta: float = 0.0
    low: float = 0.0
    high: float = 0.0
    verdict: Verdict = "base"


class SuiteRow(Part):
    """One model on one suite; `name` and `row` as in `Row`. `extra` is what the suite found besides its measures."""

    name: str
    row: RowKind
    measures: dict[str, SuiteMeasure]
    extra: dict[str, Any] = Field(default_factory=dict)


class SuiteSet(Part):
    """One suite of `items`. `headline` is the measure that stands for it in its ability's mean; `better` and `units`
    say of every measure which way is better, and what it is counted in."""

    name: str
    kind: str
    ability: Ability
    headline: str
    items: int
    better: dict[str, Literal["higher", "lower"]]
    units: dict[str, str]
    left_out: dict[str, int] = Field(default_factory=dict)
    bad_rows: dict[str, int] = Field(default_factory=dict)
    rows: list[SuiteRow]


class AbilityDelta(Part):
    """What became of an ability of one model (X-Delta of TRACE): the mean over its `suites` of after - base, in the
    suites' headlines, turned so that above 0 is better, with its 95 % interval. `worst` is the suite that lost most,
    which a mean hides."""

    name: str
    row: RowKind
    ability: Ability
    suites: list[str]
    delta: float
    low: float
    high: float
    verdict: Verdict
    worst: tuple[str, float]


class Suites(Part):
    """What the models of a run answer to its suites. `apart` names suites whose headline is no share, which no mean of
    an ability holds."""

    sets: list[SuiteSet]
    abilities: list[AbilityDelta] = Field(default_factory=list)
    apart: list[str] = Field(default_factory=list)
