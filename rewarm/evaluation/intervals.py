"""Paired bootstrap over documents: is one model's loss on a watch corpus lower than another's?

Shapes: D documents, R resamples. Losses are nats; the estimator is the ratio sum of nats / sum of bytes, so
that long documents weigh as much as their text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rewarm.types import UserError

Verdict = Literal["better", "worse", "not distinguishable from noise"]
NOISE: Verdict = "not distinguishable from noise"

# 2^20 indices and their two gathered columns: about 24 MiB at a time, whatever the corpus holds.
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
        return _diverged(first, second)
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
    delta = float(difference_D.sum() / weights_D.sum())
    if len(weights_D) < 2:
        return Interval(delta, float("-inf"), float("inf"), NOISE)
    deltas_R = _resampled(difference_D, weights_D, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = (float(bound) for bound in np.quantile(deltas_R, [tail, 1 - tail]))
    if low <= 0 <= high:
        return Interval(delta, low, high, NOISE)
    return Interval(delta, low, high, "better" if (high < 0) == lower_is_better else "worse")


def _diverged(first: float, second: float) -> Interval:
    if np.isfinite(first):
        return Interval(float("inf"), float("inf"), float("inf"), "worse")
    if np.isfinite(second):
        return Interval(float("-inf"), float("-inf"), float("-inf"), "better")
    return Interval(float("nan"), float("-inf"), float("inf"), NOISE)


def _resampled(
    difference_D: npt.NDArray[np.float64],
    bytes_D: npt.NDArray[np.float64],
    resamples: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """The delta of each resample. The bytes of both models are equal, so one ratio of the differences is
    the difference of the two ratios."""
    documents = len(bytes_D)
    at_once = max(1, _DRAWS_AT_ONCE // documents)
    deltas_R = np.empty(resamples)
    for start in range(0, resamples, at_once):
        stop = min(start + at_once, resamples)
        drawn: npt.NDArray[Any] = generator.integers(0, documents, size=(stop - start, documents))
        deltas_R[start:stop] = difference_D[drawn].sum(axis=1) / bytes_D[drawn].sum(axis=1)
    return deltas_R
