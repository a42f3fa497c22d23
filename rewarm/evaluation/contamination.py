"""What the untouched base knows already: changed and new probes that it answers measure no learning, unchanged ones
that it does not answer cannot be forgotten.

Shapes: N probes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.evaluation.fact_scores import FactScores

LEAST_CANDIDATES = 10
"""Rank 1 among fewer candidates is too often luck to be called knowledge."""
LEARNABLE = ("changed", "new")


def known(scores: FactScores, least_candidates: int = LEAST_CANDIDATES) -> NDArray[np.bool_]:
    """Which probes a model answers (N,): it generates an accepted answer; or the right one is the likeliest of at least
    `least_candidates`, by summed log-probability and by that per byte, and (where there is an old answer) likelier than
    it. Deleted facts have no answer, so none is known.
    """
    with np.errstate(invalid="ignore"):  # NaN where a probe has no such figure: no comparison holds
        first = (scores.rank_N == 1) & (scores.byte_rank_N == 1) & (scores.candidates_N >= least_candidates)
        preferred = ~(scores.log_odds_N <= 0)
    found: NDArray[np.bool_] = (scores.exact_N == 1) | (first & preferred)
    return found


def contaminated(base: FactScores) -> NDArray[np.bool_]:
    """Which changed and new probes the untouched base knows already (N,): they measure no learning."""
    return known(base) & base.of_kind(*LEARNABLE)


@dataclass(frozen=True, slots=True)
class Contamination:
    """`ids` of changed and new probes that the base answers already; `known` and `asked` count probes by kind."""

    ids: tuple[str, ...]
    known: dict[str, int]
    asked: dict[str, int]


def contamination(base: FactScores) -> Contamination:
    """What the untouched base answers, by kind; unchanged probes among them are those that can be forgotten."""
    known_N = known(base)
    kinds = [kind for kind in dict.fromkeys(base.kinds) if kind != "deleted"]
    return Contamination(
        ids=tuple(np.array(base.ids, object)[contaminated(base)].tolist()),
        known={kind: int((known_N & base.of_kind(kind)).sum()) for kind in kinds},
        asked={kind: int(base.of_kind(kind).sum()) for kind in kinds},
    )
