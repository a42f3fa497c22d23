"""FUAR: forgotten against updated and acquired (Jang et al. 2022, "Towards Continual Knowledge Learning").

Gap(T, a, b) = Score(T, LM_a) - Score(T, LM_b). After stages 0..n, with T^F_i what was known of stage i's text, T^U_n
what the last stage changed and T^A_n what it added:

    FUAR = sum over i<n of max(0, Gap(T^F_i, LM_i, LM_n))
           / sum over i<n of [max(0, Gap(T^U_n, LM_n, LM_i)) + max(0, Gap(T^A_n, LM_n, LM_i))]

where a task that is not defined adds nothing. 0: nothing was forgotten for what was gained; 1: a fact lost for each
gained; lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rewarm.evaluation.fact_scores import FactScores
from rewarm.evaluation.fact_summary import check_same, figures
from rewarm.types import UserError

VACUOUS_BELOW = 0.05
"""A gain below 5 points for each earlier model: hardly anything was learned, and the ratio says nothing about
forgetting."""
NO_GAIN = "no gain"
NOT_ASKED = "not asked"


class Gap(NamedTuple):
    """A task's score under an earlier model, LM_i, and under the last one, LM_n: shares from 0 to 1, higher is
    better."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Fuar:
    """`value` is None when nothing was gained ("no gain"), or no task of what was to be kept, or none of what was to be
    learned, is defined ("not asked"). `vacuous`: the gain is below the bound, or no earlier model knew anything that
    could be lost.

    `invariant` (IL), `updated` (UL) and `new` (NL) are the scores it is made of, one for each earlier model; the ratio
    is not to be read without them.
    """

    value: float | None
    vacuous: bool
    lost: float
    gained: float
    invariant: tuple[Gap | None, ...]
    updated: tuple[Gap | None, ...]
    new: tuple[Gap | None, ...]

    @property
    def words(self) -> str:
        """The value as people read it: `0.28`, `0.00 (vacuous)`, `no gain` or `not asked`."""
        return words(self.value, self.vacuous, is_asked(self.invariant, self.updated, self.new))


def is_asked(invariant: Sequence[Any], updated: Sequence[Any], new: Sequence[Any]) -> bool:
    """Whether there is a task of what was to be kept, and one of what was to be learned."""
    kept, learned = ([task for task in tasks if task is not None] for tasks in (invariant, (*updated, *new)))
    return bool(kept and learned)


def words(value: float | None, vacuous: bool, asked: bool) -> str:
    """A FUAR as people read it."""
    if value is None:
        return NO_GAIN if asked else NOT_ASKED
    return f"{value:.2f}{' (vacuous)' if vacuous else ''}"


def fuar(
    invariant: Sequence[Gap | None],
    updated: Sequence[Gap | None],
    new: Sequence[Gap | None],
    vacuous_below: float = VACUOUS_BELOW,
) -> Fuar:
    """FUAR of the last of n + 1 models; each sequence has a gap for each of the n earlier ones, None where the task is
    not defined. With one phase, n = 1.

    UserError when the lengths differ, there is no earlier model, or a score is no share.
    """
    if not len(invariant) == len(updated) == len(new) >= 1:
        raise UserError(
            f"FUAR needs one gap per earlier model for each of the three tasks, None where it is not defined; got "
            f"{len(invariant)} invariant, {len(updated)} updated and {len(new)} new"
        )
    for gap in (*invariant, *updated, *new):
        if gap is not None and not all(0 <= score <= 1 for score in gap):
            raise UserError(f"FUAR takes scores from 0 to 1, got {gap.before} and {gap.after}: divide percent by 100")
    lost = sum(max(0.0, gap.before - gap.after) for gap in invariant if gap is not None)
    gained = sum(max(0.0, gap.after - gap.before) for gap in (*updated, *new) if gap is not None)
    could_lose = any(gap.before > 0 for gap in invariant if gap is not None)
    return Fuar(
        value=lost / gained if gained and is_asked(invariant, updated, new) else None,
        vacuous=gained < vacuous_below * len(invariant) or not could_lose,
        lost=lost,
        gained=gained,
        invariant=tuple(invariant),
        updated=tuple(updated),
        new=tuple(new),
    )


def gap(before: FactScores, after: FactScores, kind: str, metric: str = "exact") -> Gap | None:
    """The score of two models on the probes of a kind; None where there are none that have the metric."""
    check_same(before, after)
    chosen_N = before.of_kind(kind)
    first, second = (figures(scores, chosen_N, [metric]).get(metric) for scores in (before, after))
    return None if first is None or second is None else Gap(first.value, second.value)


def phase_fuar(before: FactScores, after: FactScores, metric: str = "exact") -> Fuar:
    """FUAR of one phase: unchanged probes are the invariant task, changed ones the update, new ones the acquisition.

    `metric` is a share (`exact`, as published; `rank_1` for models too small to generate an answer).
    """
    tasks = [gap(before, after, kind, metric) for kind in ("unchanged", "changed", "new")]
    return fuar([tasks[0]], [tasks[1]], [tasks[2]])
