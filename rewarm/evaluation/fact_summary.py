"""Scores of probes as figures by kind and relation, and the change from one model to another with intervals.

Every metric is a sum over the probes that have it divided by a sum of weights (bytes, tokens, or 1), so that models
are compared on the same probes. Probes about one subject are not independent: intervals are paired bootstraps over
subjects. Shapes: N probes, C subjects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarm.evaluation.fact_scores import FactScores, Values
from rewarm.evaluation.intervals import Interval, diverged, ratio_intervals
from rewarm.probes import KINDS
from rewarm.types import UserError

ALL = "all"
Mask = NDArray[np.bool_]


class Metric(NamedTuple):
    """How a metric follows from scores: a value per probe (NaN: it has none), its weight, and which way is better."""

    meaning: str
    values: Callable[[FactScores], Values]
    weights: Callable[[FactScores], Values]
    lower_is_better: bool = False


def _ones(scores: FactScores) -> Values:
    return np.ones(len(scores.ids))


def _share(scores: FactScores, of: Values, holds: Mask) -> Values:
    return np.where(np.isnan(of), np.nan, holds)


METRICS: dict[str, Metric] = {
    "nats_per_byte": Metric("nats per byte of the answer", lambda s: s.nats_N, lambda s: s.bytes_N, True),
    "nats_per_token": Metric("nats per token of the answer", lambda s: s.nats_N, lambda s: s.tokens_N, True),
    "best_nats": Metric("nats of the likeliest accepted answer", lambda s: s.best_nats_N, _ones, True),
    "old_nats_per_byte": Metric("nats per byte of the old answer", lambda s: s.old_nats_N / s.old_bytes_N, _ones),
    "rank": Metric("rank of the answer", lambda s: s.rank_N, _ones, True),
    "reciprocal_rank": Metric("1 / rank", lambda s: 1 / s.rank_N, _ones),
    "rank_1": Metric("share with rank 1", lambda s: _share(s, s.rank_N, s.rank_N == 1), _ones),
    "byte_rank_1": Metric(
        "share with rank 1 by likelihood per byte", lambda s: _share(s, s.byte_rank_N, s.byte_rank_N == 1), _ones
    ),
    "chosen": Metric("share of questions with choices that are answered right", lambda s: s.chosen_N, _ones),
    "exact": Metric("share with an accepted answer generated", lambda s: s.exact_N, _ones),
    "f1": Metric("word overlap of the generated answer", lambda s: s.f1_N, _ones),
    "log_odds": Metric("log-odds of new against old answer", lambda s: s.log_odds_N, _ones),
    "prefers_new": Metric(
        "share that prefers the new answer", lambda s: _share(s, s.log_odds_N, s.log_odds_N > 0), _ones
    ),
    "stale": Metric("share with the old answer generated", lambda s: s.stale_N, _ones, True),
}


class Figure(NamedTuple):
    """A metric over the `probes` that have it."""

    value: float
    probes: int


def figures(
    scores: FactScores, chosen_N: Mask | None = None, metrics: Collection[str] = tuple(METRICS)
) -> dict[str, Figure]:
    """These metrics over the chosen probes (all of them by default), and how many have each; those that none has are
    left out. With nats per token comes `perplexity`, that of the answers' tokens."""
    found = {}
    for name in metrics:
        metric = METRICS[name]
        values_N, weights_N = metric.values(scores), metric.weights(scores)
        has_N = ~np.isnan(values_N) if chosen_N is None else ~np.isnan(values_N) & chosen_N
        if has_N.any():
            found[name] = Figure(float(values_N[has_N].sum() / weights_N[has_N].sum()), int(has_N.sum()))
    if "nats_per_token" in found:
        nats, count = found["nats_per_token"]
        found["perplexity"] = Figure(float(np.exp(np.minimum(nats, 700.0))), count)
    return found


def by_kind(scores: FactScores) -> dict[str, dict[str, Figure]]:
    """The figures of all probes, then of each kind that occurs."""
    kinds = [kind for kind in KINDS if kind in scores.kinds]
    return {ALL: figures(scores)} | {kind: figures(scores, scores.of_kind(kind)) for kind in kinds}


def by_relation(scores: FactScores) -> dict[str, dict[str, Figure]]:
    """The figures of each named relation, those with the most probes first."""
    names = [name for name, _ in Counter(scores.relations).most_common() if name]
    relations_N = np.array(scores.relations)
    return {name: figures(scores, relations_N == name) for name in names}


@dataclass(frozen=True, slots=True)
class Change:
    """From `before` to `after`, over the same `count` probes about `subjects` subjects."""

    before: float
    after: float
    interval: Interval
    count: int
    subjects: int


class _Sums(NamedTuple):
    """A metric under both models and its weights, summed over the chosen probes of each of C subjects."""

    before_C: Values
    after_C: Values
    weights_C: Values
    probes: int


def changes(
    before: FactScores,
    after: FactScores,
    chosen_N: Mask | None = None,
    metrics: Collection[str] = tuple(METRICS),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Change]:
    """The change of each of these metrics over the chosen probes, with a paired bootstrap over subjects.

    A probe without a subject is a subject of its own. Nats per token are left out where the two models' tokenizers
    split the answers differently. UserError when the two did not answer the same probes.
    """
    check_same(before, after)
    cluster_N = clusters(before)
    # Metrics of the same probes share their draws, which cost more than all else.
    alike: dict[bytes, dict[str, _Sums]] = {}
    for name in metrics:
        metric = METRICS[name]
        first_N, second_N, weights_N = metric.values(before), metric.values(after), metric.weights(before)
        has_N = ~np.isnan(first_N) & ~np.isnan(second_N) & (True if chosen_N is None else chosen_N)
        if has_N.any() and np.array_equal(weights_N, metric.weights(after), equal_nan=True):
            _, row_N = np.unique(cluster_N[has_N], return_inverse=True)
            first_C, second_C, weights_C = (_sums(row_N, of_N[has_N]) for of_N in (first_N, second_N, weights_N))
            sums = _Sums(first_C, second_C, weights_C, int(has_N.sum()))
            alike.setdefault(has_N.tobytes(), {})[name] = sums
    found: dict[str, Change] = {}
    for held in alike.values():
        found |= _changes(held, resamples, seed)
    return {name: found[name] for name in metrics if name in found}


def _changes(held: dict[str, _Sums], resamples: int, seed: int) -> dict[str, Change]:
    """The changes of metrics of the same probes; a model without a finite likelihood has diverged."""
    finite = {name: one for name, one in held.items() if np.isfinite([one.before_C, one.after_C]).all()}
    pairs = [(one.after_C - one.before_C, one.weights_C) for one in finite.values()]
    lower = [METRICS[name].lower_is_better for name in finite]
    intervals = dict(zip(finite, ratio_intervals(pairs, lower, resamples, seed) if pairs else [], strict=True))
    found = {}
    for name, (before_C, after_C, weights_C, probes) in held.items():
        first, second = (float(column_C.sum() / weights_C.sum()) for column_C in (before_C, after_C))
        interval = intervals.get(name) or diverged(first, second)
        found[name] = Change(first, second, interval, probes, len(weights_C))
    return found


def clusters(scores: FactScores) -> NDArray[np.int64]:
    """The number of each probe's subject (N,); a probe without one is a subject of its own."""
    numbers: dict[str, int] = {}
    names = (subject or f"\n{probe}" for subject, probe in zip(scores.subjects, scores.ids, strict=True))
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _sums(row_N: NDArray[np.int64], values_N: Values) -> Values:
    """The sum of each row's values."""
    return np.asarray(np.bincount(row_N, values_N), np.float64)


def check_same(before: FactScores, after: FactScores) -> None:
    """UserError when two models did not answer the same probes, among the same candidates."""
    if before.ids != after.ids or not np.array_equal(before.candidates_N, after.candidates_N, equal_nan=True):
        raise UserError(
            f"the two models were not asked the same probes ({len(before.ids)} and {len(after.ids)}, compared by id "
            "and candidates): ask both again with the same files and options"
        )
