"""Two published laws, fitted on some arms of a seed and held against an arm that they have not seen.

Replay (D-CPT, arXiv 2406.01375, at one model and one budget; r is the share of old text, the reciprocals are its
C / (r + eps)^g for the old text, and its B / D^b with D = (1 - r) x the budget for the new):

    old(r) = E + C / (r + eps)^g          new(r) = E + B / (1 - r)^b

Annealing (arXiv 2408.11029; S1 is the sum of the rates so far, S2 the annealing area):

    new = L0 + A / (S1 + s)^a - C x S2

What is linear is solved by least squares, with coefficients of the law's signs (another sign counts as 0); the rest is
searched on a grid. No more than that is fitted: three pilots of curves, six of replay.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.methods import build
from rewarm.types import StreamState

MEMORY = 0.999
"""Lambda of the annealing area, per step."""
Floats = NDArray[np.float64]


def areas(rates: Sequence[float]) -> tuple[Floats, Floats]:
    """S1 and S2 after each step, (T,) each: sum of rates, and sum of what is left of every fall of the rate."""
    falls = np.maximum(0.0, -np.diff(np.asarray(rates), prepend=rates[0]))
    momentum, second = 0.0, np.empty(len(rates))
    for step, fall in enumerate(falls):
        momentum = MEMORY * momentum + fall
        second[step] = momentum
    return np.cumsum(rates), np.cumsum(second)


def rates_of(schedule: Any, peak: float, steps: int) -> list[float]:
    """Every rate of a stage that starts from a base, by the plan's own schedule."""
    made: Any = build("schedules", schedule)
    return [made.rate(step, steps, peak, StreamState()) for step in range(steps)]


def least_squares(columns: Sequence[Floats], target: Floats) -> tuple[Floats, float]:
    """Coefficients (C,) of columns, the first of any sign and the others at least 0, and the squared error."""
    best: tuple[Floats, float] = (np.zeros(len(columns)), float("inf"))
    for used in itertools.product((False, True), repeat=len(columns) - 1):
        chosen = [0, *(index for index, one in enumerate(used, 1) if one)]
        matrix = np.stack([columns[index] for index in chosen], axis=1)
        found = np.linalg.lstsq(matrix, target, rcond=None)[0]
        error = float(((matrix @ found - target) ** 2).sum())
        if (found[1:] >= 0).all() and error < best[1]:
            whole = np.zeros(len(columns))
            whole[chosen] = found
            best = (whole, error)
    return best


def old_of_replay(shares: Sequence[float], losses: Sequence[float], wanted: float) -> float:
    """The old loss at a share of replay, from those at other shares."""
    x, y, best = np.asarray(shares), np.asarray(losses), (float("inf"), 0.0)
    for eps, power in itertools.product((0.0005, 0.001, 0.003, 0.01, 0.03, 0.1), np.arange(0.1, 2.05, 0.1)):
        (constant, scale), error = least_squares([np.ones_like(x), (x + eps) ** -power], y)
        best = min(best, (error, float(constant + scale * (wanted + eps) ** -power)))
    return best[1]


def new_of_replay(shares: Sequence[float], losses: Sequence[float], wanted: float) -> float:
    """The new loss at a share of replay, from those at other shares."""
    x, y, best = 1 - np.asarray(shares), np.asarray(losses), (float("inf"), 0.0)
    for power in np.arange(0.05, 2.05, 0.05):
        (constant, scale), error = least_squares([np.ones_like(x), x**-power], y)
        best = min(best, (error, float(constant + scale * (1 - wanted) ** -power)))
    return best[1]


def of_annealing(pilots: Sequence[tuple[Floats, Floats, Floats]], first: Floats, second: Floats) -> Floats:
    """Losses (P,) at the areas `first` and `second`, from pilots of (S1, S2, losses) along their curves."""
    one, two, losses = (np.concatenate([pilot[part] for pilot in pilots]) for part in range(3))
    best: tuple[float, Floats] = (float("inf"), np.zeros_like(first))
    for start, power in itertools.product((0.003, 0.01, 0.03, 0.1, 0.3, 1.0), np.arange(0.1, 1.55, 0.1)):
        columns = [np.ones_like(one), (one + start) ** -power, -two]
        (constant, scale, gain), error = least_squares(columns, losses)
        if error < best[0]:
            best = (error, constant + scale * (first + start) ** -power - gain * second)
    return best[1]
