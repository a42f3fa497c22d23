"""Paired bootstrap over documents: is one model's loss on a watch corpus lower than another's?

Shapes: D documents (or other rows), M metrics, K columns, R resamples. Losses are nats; the estimator is the ratio
sum of nats / sum of bytes, so that long documents weigh as much as their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rewarm.types import UserError

Verdict = Literal["better", "worse", "not distinguishable from noise"]
NOISE: Verdict = "not distinguishable from noise"

# 2^20 indices and their counts: about 24 MiB at a time, whatever the corpus holds.
_DRAWS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class DocumentLosses:
    """One model on the held-out documents of one watch corpus, in the corpus's order (the same for every
    model).

    `nats_D` is the summed loss of each document (float64), `bytes_D` the UTF-8 length of its text,
    `tokens_D` the number of its scored tokens (int64). UserError when there is no document, when the
    lengths differ, or when a document has no text.
    """

    nats_D: npt.NDArray[np.float64]
    bytes_D: npt.NDArray[np.int64]
    tokens_D: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        shapes = [array.shape for array in (self.nats_D, self.bytes_D, self.tokens_D)]
        if len(set(shapes)) > 1 or len(shapes[0]) != 1:
            raise UserError(f"losses, bytes and tokens need one value per document, got shapes {shapes}")
        if not len(self.bytes_D):
            raise UserError("a watch corpus needs at least one held-out document, got 0: give it more text")
        if int(self.bytes_D.min()) < 1:
            empty = int(self.bytes_D.argmin())
            raise UserError(f"held-out document {empty} has no text: leave empty documents out of the scoring")

    @property
    def per_byte(self) -> float:
        """Nats per byte over all documents; infinite when the model gave a loss that is no number."""
        total = float(self.nats_D.sum())
        return float("inf") if np.isnan(total) else total / int(self.bytes_D.sum())


@dataclass(frozen=True, slots=True)
class Interval:
    """`delta`, the second model less the first in the metric's units (nats per byte; below 0 is better, where lower
    is), and the bounds of its interval.

    `verdict` is `better` or `worse` when the interval leaves out 0.
    """

    delta: float
    low: float
    high: float
    verdict: Verdict


def paired_delta(
    before: DocumentLosses,
    after: DocumentLosses,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """The change of loss per byte from `before` to `after`, with its percentile bootstrap interval.

    Documents are drawn with replacement and both models are scored on the same draw (Koehn 2004; Efron and
    Tibshirani 1993, chapter 13), so what makes a document hard for both cancels. The interval speaks of the
    choice of held-out documents, not of the seed of the training; below about 30 documents it is too
    narrow, and with a single one it is infinite. A model whose loss is no finite number has diverged and
    counts as infinitely worse.

    The same arguments give the same interval. Memory does not grow with `resamples`. UserError when the two
    do not hold the same documents, or for `resamples` below 1 or `confidence` outside (0, 1).
    """
    if not np.array_equal(before.bytes_D, after.bytes_D):
        raise UserError(
            f"the two models were not scored on the same documents ({len(before.bytes_D)} and "
            f"{len(after.bytes_D)}, compared by their bytes): score both again on the same held-out documents"
        )
    _check_resampling(resamples, confidence)
    first, second = before.per_byte, after.per_byte
    if not (np.isfinite(first) and np.isfinite(second)):
        return diverged(first, second)
    return ratio_interval(after.nats_D - before.nats_D, after.bytes_D.astype(np.float64), resamples, seed, confidence)


def _check_resampling(resamples: int, confidence: float) -> None:
    if resamples < 1:
        raise UserError(f"resamples {resamples} must be 1 or more; 2000 is usual")
    if not 0 < confidence < 1:
        raise UserError(f"confidence {confidence} must lie between 0 and 1; 0.95 is usual")


def ratio_interval(
    difference_D: npt.NDArray[np.float64],
    weights_D: npt.NDArray[np.float64],
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    lower_is_better: bool = True,
) -> Interval:
    """sum of differences / sum of weights with its percentile bootstrap interval: what `paired_delta` rests on.

    What is drawn is a row: a document, or a cluster of cases that are not independent, given by its sums. Weights are
    above 0; with fewer than two rows the interval is infinite.
    """
    return ratio_intervals([(difference_D, weights_D)], [lower_is_better], resamples, seed, confidence)[0]


def ratio_intervals(
    pairs: Sequence[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]],
    lower_is_better: Sequence[bool],
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Interval]:
    """`ratio_interval` of several differences and weights over the same rows, which are drawn once for all."""
    columns_DM, weights_DM = (np.stack(columns, axis=1) for columns in zip(*pairs, strict=True))
    delta_M = columns_DM.sum(axis=0) / weights_DM.sum(axis=0)
    if len(weights_DM) < 2:
        return [Interval(float(delta), float("-inf"), float("inf"), NOISE) for delta in delta_M]
    deltas_RM = _resampled(columns_DM, weights_DM, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low_M, high_M = np.quantile(deltas_RM, [tail, 1 - tail], axis=0)
    found = []
    for delta, low, high, lower in zip(delta_M.tolist(), low_M.tolist(), high_M.tolist(), lower_is_better, strict=True):
        verdict: Verdict = "better" if (high < 0) == lower else "worse"
        found.append(Interval(delta, low, high, NOISE if low <= 0 <= high else verdict))
    return found


def diverged(first: float, second: float) -> Interval:
    """The interval of a metric that is not finite under one of two models: that one is infinitely worse."""
    if np.isfinite(first):
        return Interval(float("inf"), float("inf"), float("inf"), "worse")
    if np.isfinite(second):
        return Interval(float("-inf"), float("-inf"), float("-inf"), "better")
    return Interval(float("nan"), float("-inf"), float("inf"), NOISE)


def _resampled(
    difference_DM: npt.NDArray[np.float64],
    weights_DM: npt.NDArray[np.float64],
    resamples: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """The deltas of each resample. Both models have the same weights, so one ratio of the differences is the
    difference of the two ratios. How often each row was drawn is counted: a product then serves every metric."""
    rows, metrics = weights_DM.shape
    columns_DK = np.concatenate([difference_DM, weights_DM], axis=1)
    at_once = max(1, _DRAWS_AT_ONCE // rows)
    deltas_RM = np.empty((resamples, metrics))
    for start in range(0, resamples, at_once):
        stop = min(start + at_once, resamples)
        drawn: npt.NDArray[Any] = generator.integers(0, rows, size=(stop - start, rows))
        drawn += rows * np.arange(stop - start)[:, None]
        counts_RD = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums_RK = counts_RD.astype(np.float64) @ columns_DK
        deltas_RM[start:stop] = sums_RK[:, :metrics] / sums_RK[:, metrics:]
    return deltas_RM
