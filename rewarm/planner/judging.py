"""Which law to believe for a corpus, and how far: errors on pilots that a law has not seen, and what makes an interval.

An interval is Student's t times the root of five variances, each of which has its own cause and is reported:
`law` (fits to made-up pilots), `noise` (what the law misses of pilots it has not seen, seeds included), `laws` (how far
laws that are about as good disagree), `reach` (the error on longer pilots than were fitted, for each e-fold of tokens
beyond the longest), and `documents` (which documents happen to be in the half that pilots are scored on, and in the
other). Shapes: N pilots, G settings, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.methods import known
from rewarm.planner import Floats, Law, Role, Settings
from rewarm.planner.fitting import Fitted, fit, weight

ABOUT_AS_GOOD = 1.5
"""A law is asked beside the best one when its error is at most this many times as large."""
DRAWS = 40
_FREE = 5
"""Taken off the number of pilots for the degrees of freedom of Student's t: about what a law decides by them."""
_T_975 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)


@dataclass(frozen=True, slots=True)
class Judged:
    """A law held against pilots it has not seen. `error` is the root mean square of its errors, each pilot left out
    once; `reach` is that on longer pilots than it saw, divided by how many e-folds longer. Both are over the pilots'
    weights and the scale. `points` are the plain errors, as a share of the loss."""

    fitted: Fitted
    error: float
    reach: float
    points: float = 0.0

    @property
    def name(self) -> str:
        """The law's name."""
        return self.fitted.law.method_name()


@dataclass(frozen=True, slots=True)
class Interval:
    """Forecasts (G,) with the bounds of their 95 % intervals, and the standard deviations they are made of.

    No loss falls by more than all of it: a law that says so is beyond where it holds (`beyond_G`); bounds end at -1.
    """

    point_G: Floats
    half_G: Floats
    parts: dict[str, Floats]

    @property
    def low_G(self) -> Floats:
        """Lower bounds (G,), -1 at the least."""
        return np.maximum(-1.0, self.point_G - self.half_G)

    @property
    def high_G(self) -> Floats:
        """Upper bounds (G,)."""
        return self.point_G + self.half_G

    @property
    def beyond_G(self) -> NDArray[np.bool_]:
        """Where (G,) the forecast is of no loss that there can be: none, less than none, or no number."""
        return ~(self.point_G > -1)

    def at(self, place: int) -> Interval:
        """One of the forecasts (1,), for what there can be: -1 at the least."""
        point = np.maximum(-1.0, self.point_G[[place]])
        return Interval(point, self.half_G[[place]], {part: sd[[place]] for part, sd in self.parts.items()})


@dataclass(frozen=True, slots=True)
class Corpus:
    """What pilots say of one watched corpus: changes of loss (N,), as shares of the base's, at N settings.

    `documents` is the standard deviation of a change that comes from the choice of scored documents.
    """

    name: str
    role: Role
    seen: Settings
    change_N: Floats
    documents: float
    laws: tuple[Judged, ...]

    @property
    def best(self) -> Judged:
        """The law with the smallest error on pilots it has not seen."""
        return min(self.laws, key=lambda one: one.error)

    def forecast(self, at: Settings, reaching: bool = True) -> Interval:
        """The best law's forecasts; without `reaching`, the variance of going beyond the longest pilot is left out."""
        best = self.best
        point = best.fitted.predict(at)
        noise = max(best.error, best.fitted.noise)
        size = best.fitted.scale * weight(at)
        drawn = best.fitted.draws(self.seen, at, noise, DRAWS, seed=0)
        near = [one.fitted.predict(at) for one in self.laws if one.error <= ABOUT_AS_GOOD * best.error]
        beyond = np.maximum(0.0, np.log(at.tokens_N / self.seen.tokens_N.max()))
        parts = {
            "law": drawn.std(axis=0, ddof=1),
            "noise": noise * size,
            "laws": np.std(near, axis=0),
            "reach": beyond * best.reach * size * reaching,
            "documents": np.full_like(point, math.sqrt(2) * self.documents),
        }
        spread = np.sqrt(sum(part**2 for part in parts.values()))
        return Interval(point, student(len(self.change_N) - _FREE) * spread, parts)


def student(freedom: int) -> float:
    """Student's t for a two-sided interval of 95 %; 1.96 far out."""
    place = max(1, freedom)
    return _T_975[place - 1] if place <= len(_T_975) else 1.96 + 2.5 / place


def judge(name: str, role: Role, seen: Settings, change_N: Floats, documents: float) -> Corpus:
    """Every law of the folder fitted to the pilots of one corpus and held against those it has not seen."""
    laws = [law() for law in known("planner").values()]
    found = tuple(_judged(law, role, seen, change_N) for law in laws if isinstance(law, Law))
    return Corpus(name, role, seen, change_N, documents, found)


def _judged(law: Law, role: Role, seen: Settings, change_N: Floats) -> Judged:
    whole = fit(law, role, seen, change_N)
    weights_N = whole.scale * weight(seen)
    errors = []
    for place in range(len(change_N)):
        kept = np.arange(len(change_N)) != place
        without = fit(law, role, seen.take(kept), change_N[kept], whole)
        errors.append(float(without.predict(seen.take(~kept))[0]) - float(change_N[place]))
    rates = _reaches(law, role, seen, change_N, whole)
    weighed = (np.array(errors) / weights_N).tolist()
    return Judged(whole, _root_mean_square(weighed), _root_mean_square(rates), _root_mean_square(errors))


def _reaches(law: Law, role: Role, seen: Settings, change_N: Floats, whole: Fitted) -> list[float]:
    """Errors on pilots longer than all that were fitted, over the e-folds between, for each length that leaves enough
    pilots below it."""
    found = []
    for length in sorted(set(seen.tokens_N.tolist()))[1:]:
        kept = seen.tokens_N < length * 0.999
        if kept.sum() >= max(5, len(change_N) // 3):
            short = fit(law, role, seen.take(kept), change_N[kept], whole)
            far = ~kept
            distance = np.log(seen.tokens_N[far] / seen.tokens_N[kept].max())
            errors = (short.predict(seen.take(far)) - change_N[far]) / (whole.scale * weight(seen.take(far)))
            found += (errors / np.maximum(distance, 0.3)).tolist()
    return found


def _root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values)) if values else 0.0
