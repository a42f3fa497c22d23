"""The rule, written down before any run: what decides a statement, and what decides a claim.

A statement is a number for each seed (a difference between two arms of that seed, in nats per token unless it says
otherwise) and the direction in which the claim says it lies. With the 95 % t interval of the numbers over the seeds:

    above    held if the interval lies above 0, not held if it lies below 0
    below    held if the interval lies below 0, not held if it lies above 0
    equal    held if it lies within MARGIN of 0, not held if it leaves out 0 (and reaches beyond the margin)
    at most  held if it lies below MARGIN, not held if it lies above it

and otherwise `not decidable here`. A statement that lacks a seed is `not run yet`. A claim is `not run yet` if one of
its statements is; `not held` if one is not held; `held` if all are; otherwise `not decidable here`. Statements marked
`beside` are shown and do not count: they are no part of what the source says, or need more tokens than are spent here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rewarm.evaluation.frontier import over_seeds

Kind = Literal["above", "below", "equal", "at most"]
Verdict = Literal["held", "not held", "not decidable here", "not run yet"]
Runs = Mapping[str, Mapping[str, Any]]
"""The rows of one seed by the name of their arm."""
MARGIN = 0.02
"""Nats per token that count as no difference: what the follow-up calls negligible (arXiv 2403.08763, table 12)."""
SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of a claim. `value` gives the number of a seed; KeyError where an arm it needs has not run."""

    text: str
    kind: Kind
    value: Callable[[Runs], float]
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement with its numbers: one for each seed that has run, their mean and interval, and the verdict."""

    statement: Statement
    seeds: tuple[float, ...]
    mean: float
    low: float
    high: float
    verdict: Verdict


def judged(kind: Kind, low: float, high: float) -> Verdict:
    """What an interval says of a statement."""
    if kind == "above":
        return "held" if low > 0 else "not held" if high < 0 else "not decidable here"
    if kind == "below":
        return judged("above", -high, -low)
    if kind == "at most":
        return "held" if high < MARGIN else "not held" if low > MARGIN else "not decidable here"
    if low > -MARGIN and high < MARGIN:
        return "held"
    return "not held" if low > 0 or high < 0 else "not decidable here"


def find(statement: Statement, runs: Mapping[int, Runs], seeds: Sequence[int] = SEEDS) -> Finding:
    """A statement held against the rows of every seed."""
    values = []
    for seed in seeds:
        try:
            values.append(statement.value(runs[seed]))
        except KeyError:
            continue
    if not values:
        return Finding(statement, (), 0.0, 0.0, 0.0, "not run yet")
    mean, low, high = over_seeds(values)
    verdict = judged(statement.kind, low, high) if len(values) == len(seeds) else "not run yet"
    return Finding(statement, tuple(values), mean, low, high, verdict)


def of_claim(findings: Sequence[Finding]) -> Verdict:
    """What the statements of a claim decide together; ValueError when none of them counts."""
    counted = [one.verdict for one in findings if not one.statement.beside]
    if not counted:
        raise ValueError("a claim needs a statement that counts")
    for word in ("not run yet", "not held"):
        if word in counted:
            return word
    return "held" if set(counted) == {"held"} else "not decidable here"
