"""The part of a result that speaks of pairs of answers: whose side each model takes."""

from __future__ import annotations

from rewarm.report.part import Part, RowKind, Verdict


class PairMeasure(Part):
    """A mean over pairs with its 95 % interval (bootstrap over pairs)."""

    value: float
    low: float
    high: float


class PairMove(Part):
    """How far a model has moved since another, called `since` (rewarm.evaluation.pair_scores.Moved; nats, but
    `accuracy` is a share of the pairs). The verdict is on the margin."""

    since: str
    margin: PairMeasure
    accuracy: PairMeasure
    chosen: PairMeasure
    rejected: PairMeasure
    verdict: Verdict


class PairRow(Part):
    """One model; `name` and `row` as in `Row`. `prefers` is the share of pairs whose chosen answer is likelier."""

    name: str
    row: RowKind
    prefers: float
    moves: list[PairMove]


class PairSet(Part):
    """One watched corpus of pairs, of which `too_long` could not be scored; the base is the first row."""

    name: str
    pairs: int
    too_long: int = 0
    rows: list[PairRow]
