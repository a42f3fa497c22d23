"""Curves between two rates as pure functions of progress in [0, 1], and the one place that checks a step.

Every curve is exact at both ends (progress 0 gives `start`, progress 1 gives `end`, bit for bit), because a
stream hands the last rate of one stage to the next. A part of this folder, no schedule of its own.
"""

import math
from collections.abc import Callable
from typing import Literal

DecayShape = Literal["linear", "one-minus-sqrt", "exponential"]


def update_number(step: int, steps: int) -> int:
    """n, the count of updates including this one; ValueError when `step` is outside [0, steps)."""
    if not 0 <= step < steps:
        raise ValueError(
            f"step {step} is outside a stage of {steps} steps: steps count from 0, the last one is steps - 1"
        )
    return step + 1


def linear(start: float, end: float, progress: float) -> float:
    """The straight line: start + (end - start) * progress."""
    return _blend(start, end, 1.0 - progress)


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine wave: end + (start - end) * (1 + cos(pi * progress)) / 2."""
    return _blend(start, end, 0.5 * (1.0 + math.cos(math.pi * progress)))


def one_minus_sqrt(start: float, end: float, progress: float) -> float:
    """end + (start - end) * (1 - sqrt(progress)): steep first, flat last (arXiv 2405.18392)."""
    return _blend(start, end, 1.0 - math.sqrt(progress))


def inverse_sqrt(start: float, end: float, progress: float, timescale: float) -> float:
    """start + (end - start) * f(progress) / f(1), f(u) = 1 / sqrt(1 + timescale * u) - 1 (arXiv 2403.08763).

    The larger the timescale (> 0), the earlier the fall; towards 0 the curve becomes a straight line.
    """
    fallen = _inverse_sqrt_fall(progress, timescale) / _inverse_sqrt_fall(1.0, timescale)
    return _blend(start, end, 1.0 - fallen)


def exponential(start: float, end: float, progress: float) -> float:
    """The geometric line: start * (end / start) ** progress; both ends must be above 0, or it jumps."""
    # The product of powers is the same curve, but it is exact at both ends.
    return float(start ** (1.0 - progress) * end**progress)


DECAYS: dict[DecayShape, Callable[[float, float, float], float]] = {
    "linear": linear,
    "one-minus-sqrt": one_minus_sqrt,
    "exponential": exponential,
}
"""The curves a plan may choose for a final decay, by the name it uses."""


def check_floor(shape: DecayShape, floor: float) -> None:
    """ValueError when the shape cannot reach the floor: an exponential decay never arrives at 0."""
    if shape == "exponential" and floor == 0.0:
        raise ValueError("an exponential decay never reaches a floor of 0. Give a floor such as 10%, or shape: linear")


def _blend(start: float, end: float, weight: float) -> float:
    return weight * start + (1.0 - weight) * end


def _inverse_sqrt_fall(progress: float, timescale: float) -> float:
    return 1.0 / math.sqrt(1.0 + timescale * progress) - 1.0
