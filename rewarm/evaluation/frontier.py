"""What a learning rate alone buys: a method is held against the sweep of learning rates, not against a single run.

A lower learning rate forgets less and learns less, so any method can be moved along that line for nothing. It gains
only where it forgets less than the sweep does at equal loss on new text. Changes are fractions of the base's loss,
below 0 is better. Shapes: S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["beats", "on", "behind", "beyond the sweep"]
_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""The 97.5 % quantile of Student's t for 1 to 30 degrees of freedom (Student 1908; any table)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model: its mean change of loss on old and on new text."""

    old: float
    new: float

    @property
    def finite(self) -> bool:
        """Whether the model's losses are numbers; one that diverged is no part of a frontier."""
        return math.isfinite(self.old) and math.isfinite(self.new)


@dataclass(frozen=True, slots=True)
class Standing:
    """A method against the sweep. `distance` is its old change less the frontier's at equal new change, mean over seeds
    (below 0: it forgets less); `low` and `high` bound the 95 % interval over seeds.

    `beats` and `behind` only where that interval leaves out 0. `beyond the sweep` (no numbers) where some seed learned
    more than every learning rate on the frontier and forgot more, too, or less of both: what a rate that learns as much
    would forget is not known.
    """

    verdict: Verdict
    distance: float | None = None
    low: float | None = None
    high: float | None = None


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats on old and new text at once, from the most learned to the least forgotten."""
    kept: list[Point] = []
    for point in sorted((point for point in points if point.finite), key=lambda point: (point.new, point.old)):
        if not kept or point.old < kept[-1].old:
            kept.append(point)
    return kept


def distance(point: Point, sweep: Sequence[Point]) -> float | None:
    """The point's old change less that of the sweep's frontier at the same new change, by linear interpolation.

    A point that learned more than every rate and forgot less than the one that learned most beats them all, and one
    that learned less than every rate and forgot more than the gentlest is behind them all: then this is the distance
    from that end, which is the least it can be. None for another point outside the frontier's range, for which nothing
    is known, and for one that diverged.
    """
    line = frontier(sweep)
    if not point.finite or not line:
        return None
    if point.new < line[0].new:
        return point.old - line[0].old if point.old < line[0].old else None
    if point.new > line[-1].new:
        return point.old - line[-1].old if point.old > line[-1].old else None
    return point.old - float(np.interp(point.new, [held.new for held in line], [held.old for held in line]))


def shortfall(point: Point, sweep: Sequence[Point]) -> tuple[bool, float]:
    """What to sort tried values of an option by, the best first.

    Values that have a distance come first, by it. Another is held against the nearest end of the frontier, with what it
    learned more or less counted in full.
    """
    found, line = distance(point, sweep), frontier(sweep)
    if found is not None:
        return False, found
    if not point.finite or not line:
        return True, math.inf
    end = line[0] if point.new < line[0].new else line[-1]
    return True, (point.old - end.old) + (point.new - end.new)


def over_seeds(values_S: Sequence[float]) -> tuple[float, float, float]:
    """Mean and bounds of the 95 % t interval of one value per seed; unbounded for a single seed.

    All three are infinite when a seed's value is no finite number: it diverged. ValueError without a value.
    """
    if not values_S:
        raise ValueError("a mean over seeds needs at least one value")
    if not all(map(math.isfinite, values_S)):
        return math.inf, math.inf, math.inf
    mean, degrees = float(np.mean(values_S)), len(values_S) - 1
    if not degrees:
        return mean, -math.inf, math.inf
    # Beyond the table the first term of the Cornish-Fisher expansion is right to three digits.
    quantile = _T_975[degrees - 1] if degrees <= len(_T_975) else 1.960 + 2.372 / degrees
    half = quantile * float(np.std(values_S, ddof=1)) / math.sqrt(len(values_S))
    return mean, mean - half, mean + half


def standing(points_S: Sequence[Point], sweeps_S: Sequence[Sequence[Point]]) -> Standing:
    """A method against the learning rates, seed by seed: each seed's point against the sweep of the same seed."""
    found = [distance(point, sweep) for point, sweep in zip(points_S, sweeps_S, strict=True)]
    distances = [one for one in found if one is not None]
    if len(distances) < len(found) or not found:
        return Standing("beyond the sweep")
    mean, low, high = over_seeds(distances)
    return Standing("beats" if high < 0 else "behind" if low > 0 else "on", mean, low, high)
