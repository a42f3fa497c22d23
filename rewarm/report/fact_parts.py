"""The part of a result that speaks of facts: what each model answers to the probes of a run.

A model *knows* a fact as rewarm/evaluation/contamination.py has it: it writes an accepted answer, or finds it the
likeliest of at least ten of its relation, and likelier than the old one.
"""

from __future__ import annotations

from pydantic import Field

from rewarm.report.part import Part, RowKind, Verdict


class FactMeasure(Part):
    """A metric of rewarm.evaluation.fact_summary over the `probes` that have it, and its change against the base with
    the 95 % interval (paired bootstrap over subjects)."""

    value: float
    probes: int
    delta: float = 0.0
    low: float = 0.0
    high: float = 0.0
    verdict: Verdict = "base"


class FactShare(Part):
    """A share of `facts` with its 95 % interval (bootstrap over subjects; where all or none of them count, the exact
    bound of so many independent subjects)."""

    value: float
    low: float
    high: float
    facts: int


class FactCell(Part):
    """One model on the `facts` of one kind of one set. `known` is the share that it knows (None for deleted facts).

    `held` is that share of the facts that measure something: unchanged ones that the base knows, changed and new ones
    that it does not; `apart` has the metrics over those facts alone.
    """

    facts: int
    known: float | None = None
    held: FactShare | None = None
    measures: dict[str, FactMeasure]
    apart: dict[str, float] = Field(default_factory=dict)


class FactRow(Part):
    """One model on one set of probes; `name` and `row` as in `Row`, cells by kind."""

    name: str
    row: RowKind
    cells: dict[str, FactCell]


class FactSet(Part):
    """One set of probes. `stage` brings its new answers; `base_knows` counts what the base knows, by kind.

    `again` facts are left out, because a set of a later stage says that they changed once more. `left_out` and
    `bad_rows` count the rows of its files that gave no probe, by reason.
    """

    name: str
    stage: str | None = None
    base_knows: dict[str, int]
    again: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    bad_rows: dict[str, int] = Field(default_factory=dict)
    rows: list[FactRow]


class FactRatio(Part):
    """FUAR (rewarm/evaluation/fuar.py); `value` is None for "no gain" and "not asked". The scores it is made of, before
    and after, have an entry for each earlier model, None where there is no such task."""

    value: float | None
    vacuous: bool
    lost: float
    gained: float
    invariant: list[tuple[float, float] | None]
    updated: list[tuple[float, float] | None]
    new: list[tuple[float, float] | None]


class FactTotal(Part):
    """One model on the facts of all sets up to its stage; a fact that several sets ask counts in each.

    `held` by kind, as in `FactCell`; FUAR by metric, since the base, and (`along`) of its stage against every model
    before it on its path, where there are two or more.
    """

    name: str
    row: RowKind
    held: dict[str, FactShare]
    ratios: dict[str, FactRatio]
    along: dict[str, FactRatio] = Field(default_factory=dict)


class Facts(Part):
    """What the models know of the facts that the run asks about."""

    sets: list[FactSet]
    totals: list[FactTotal]
