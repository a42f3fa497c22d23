"""What a statement can be about: numbers of one seed's rows, in nats per token of held-out text.

A measure is a function of the rows of one seed, by arm; KeyError where an arm that it needs has not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

import arms
import laws
import numpy as np
from arms import STREAM
from verdicts import Runs

Value = Callable[[Runs], float]


def final(arm: str, *texts: str) -> Value:
    """Mean loss on texts at the end of an arm; without texts, on the text that the arm learns."""
    names = texts or (arm.split("/")[0],)
    return lambda runs: fmean(list(runs[arm]["after"].values())[-1][name][0] for name in names)


def less(one: Value, other: Value) -> Value:
    """Their difference."""
    return lambda runs: one(runs) - other(runs)


def rise(arm: str, text: str = "books") -> Value:
    """How far the loss on a text lies above where the arm started, at the end."""
    return lambda runs: final(arm, text)(runs) - runs[arm]["base"][text][0]


def highest(arm: str, text: str) -> Value:
    """The highest loss on a text while the arm trained, less that of its start (0 where it never rose)."""
    return lambda runs: max(0.0, *(point[2][text] - runs[arm]["base"][text][0] for point in runs[arm]["curve"]))


def early_fall(arm: str) -> Value:
    """How far the loss on old text came down again from its highest point within an early run."""
    return lambda runs: max(point[2]["books"] for point in runs[arm]["curve"]) - runs[arm]["curve"][-1][2]["books"]


def at_share(arm: str, text: str, share: float) -> Value:
    """The loss on a text at the first scored point after a share of an update."""

    def value(runs: Runs) -> float:
        row = runs[arm]
        whole = sum(row["tokens"].values())
        # A point is scored after whole steps, which may be half a step early.
        soon = share * whole - arms.BATCH_TOKENS
        return float(next(point[2][text] for point in row["curve"] if point[1] >= soon))

    return value


def bump(arm: str, text: str) -> Value:
    """Mean over the boundaries of a stream: loss at the first scored point of a stage less that at the end before.
    KeyError where nothing was scored within a stage."""

    def value(runs: Runs) -> float:
        row = runs[arm]
        stages = [leg for leg in row["after"] if not leg.endswith("-release")]
        found = []
        for before, leg in pairwise(stages):
            scored = [point[2][text] for point in row["curve"] if point[0] == leg]
            found += [first - row["after"][before][text][0] for first in scored[:1]]
        if not found:
            raise KeyError(arm)
        return fmean(found)

    return value


def learned(arm: str) -> Value:
    """Mean loss on each text of the stream of shifts, right after its own stage."""

    def value(runs: Runs) -> float:
        after = runs[arm]["after"]
        return fmean(after[f"stage-{place}-{text}-{place}"][text][0] for place, text in enumerate(STREAM, 1))

    return value


def forgetting(arm: str) -> Value:
    """Mean rise at the end of a stream: of the books above the base, of earlier texts above what they came to."""

    def value(runs: Runs) -> float:
        after = runs[arm]["after"]
        texts = list(enumerate(STREAM[:-1], 1))
        rises = [final(arm, text)(runs) - after[f"stage-{place}-{text}-{place}"][text][0] for place, text in texts]
        return fmean([rise(arm)(runs), *rises])

    return value


def spread(runs: Mapping[int, Runs], arm: str, text: str) -> float:
    """Standard deviation over seeds of an arm's final loss; KeyError with fewer than two seeds."""
    values = [final(arm, text)(one) for one in runs.values() if arm in one]
    if len(values) < 2:
        raise KeyError(arm)
    return stdev(values)


def replay_error(runs: Mapping[int, Runs], text: str, scored: str) -> Value:
    """Error of the replay law at 5 %, from no replay and five other shares, less three standard deviations."""
    held, law = f"{text}/replay-0.05", laws.old_of_replay if scored == "books" else laws.new_of_replay
    pilots = {0.0: f"{text}/rescaled", **{share: f"{text}/replay-{share:g}" for share in arms.REPLAYS if share != 0.05}}

    def value(one: Runs) -> float:
        losses = [final(arm, scored)(one) for arm in pilots.values()]
        return abs(law(list(pilots), losses, 0.05) - final(held, scored)(one)) - 3 * spread(runs, held, scored)

    return value


def annealing_error(runs: Mapping[int, Runs], text: str) -> Value:
    """Mean error of the annealing law along the curve of the arm at the base's peak, less three standard deviations."""

    def points(one: Runs, name: str) -> tuple[Any, Any, Any]:
        row = one[f"{text}/{name}"]
        steps = sum(row["tokens"].values()) // arms.BATCH_TOKENS
        schedule = "constant" if name == "constant" else arms.rewarmed()
        peak = arms.PEAK * {**arms.PEAKS, "constant": arms.FLOOR}[name]
        first, second = laws.areas(laws.rates_of(schedule, peak, steps))
        at = [point[1] // arms.BATCH_TOKENS - 1 for point in row["curve"]] + [steps - 1]
        losses = [point[2][text] for point in row["curve"]] + [final(f"{text}/{name}")(one)]
        return first[at], second[at], np.asarray(losses)

    def value(one: Runs) -> float:
        first, second, losses = points(one, "clamped")
        found = laws.of_annealing([points(one, name) for name in ("constant", "half", "double")], first, second)
        return float(np.abs(found - losses).mean()) - 3 * spread(runs, f"{text}/clamped", text)

    return value
