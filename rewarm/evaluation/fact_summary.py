"""Scores of probes as figures by kind and relation, and the change from one model to another with intervals.

Every metric is a sum over the probes that have it divided by a sum of weights (bytes, tokens, or 1), so that models
are compared on the same probes. Probes about one subject are not independent: intervals are paired bootstraps over
subjects. Shapes: N probes, C subjects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarm.evaluation.fact_scores import FactScores, Values
from rewarm.evaluation.intervals import Interval, ratio_interval
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


def figures(scores: FactScores, chosen_N: Mask | None = None) -> dict[str, Figure]:
    """Every metric over the chosen probes (all of them by default), and how many have it; those that none has are
    left out. `perplexity` is that of the answers' tokens."""
    found = {}
    for name, metric in METRICS.items():
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


def changes(
    before: FactScores, after: FactScores, chosen_N: Mask | None = None, resamples: int = 2000, seed: int = 0
) -> dict[str, Change]:
    """The change of every metric over the chosen probes, with a paired bootstrap over subjects.

    A probe without a subject is a subject of its own. Nats per token are left out where the two models' tokenizers
    split the answers differently. UserError when the two did not answer the same probes.
    """
    check_same(before, after)
    numbers: dict[str, int] = {}
    names = (subject or f"\n{probe}" for subject, probe in zip(before.subjects, before.ids, strict=True))
    cluster_N = np.array([numbers.setdefault(name, len(numbers)) for name in names])
    found = {}
    for name, metric in METRICS.items():
        first_N, second_N, weights_N = metric.values(before), metric.values(after), metric.weights(before)
        if not np.array_equal(weights_N, metric.weights(after), equal_nan=True):
            continue
        has_N = ~np.isnan(first_N) & ~np.isnan(second_N) & (True if chosen_N is None else chosen_N)
        if not has_N.any():
            continue
        _, row_N = np.unique(cluster_N[has_N], return_inverse=True)
        first_C, second_C, weights_C = (_sums(row_N, column_N[has_N]) for column_N in (first_N, second_N, weights_N))
        interval = ratio_interval(
            second_C - first_C, weights_C, resamples, seed, lower_is_better=metric.lower_is_better
        )
        total = weights_C.sum()
        found[name] = Change(
            float(first_C.sum() / total), float(second_C.sum() / total), interval, int(has_N.sum()), len(weights_C)
        )
    return found


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
