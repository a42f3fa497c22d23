"""How a model takes sides in held-out pairs of answers, and how far it has moved from another model.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rewarm.evaluation.arrays import write_arrays
from rewarm.evaluation.intervals import Interval, ratio_intervals
from rewarm.evaluation.passes import batch_tokens
from rewarm.objectives.references import answers
from rewarm.tokens.order import Indices
from rewarm.tokens.pairs import Pairs
from rewarm.tokens.shards import Store

TAIL = 0.025


@dataclass(frozen=True, slots=True)
class PairScores:
    """Log-probabilities, in nats summed over the tokens of an answer, of the chosen and rejected answers (P,)."""

    chosen_P: NDArray[np.float64]
    rejected_P: NDArray[np.float64]

    @property
    def prefers(self) -> float:
        """The share of pairs whose chosen answer is the likelier one; a long answer is seldom."""
        return float((self.chosen_P > self.rejected_P).mean())


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a model has moved from another on the same pairs, each with its 95 % interval (bootstrap over pairs).

    `margin` is the mean, in nats, of what the chosen answer gained in log-probability over what the rejected one did,
    and `accuracy` the share of pairs in which it gained more (half of those in which both gained as much), less a half.
    `chosen` and `rejected` are what they gained: the first may be below 0 while the margin is above.
    """

    margin: Interval
    accuracy: Interval
    chosen: Interval
    rejected: Interval


def pair_scores(
    model: PreTrainedModel, store: Store, documents: Indices, seq_len: int,
    done: Callable[[int], None] = lambda pairs: None,
) -> PairScores:  # fmt: skip
    """Scores of the pairs whose documents are named, in their order, but for those too long for `seq_len`; in fp32."""
    pairs = Pairs(store, documents, seq_len)
    found = answers(model, pairs, np.arange(len(pairs)), batch_tokens(model), done=done)
    return PairScores(found[:, 0], found[:, 1])


def moved(before: PairScores, after: PairScores) -> Moved:
    """How far `after` has moved from `before`; pairs are drawn with replacement, the same ones for every measure."""
    chosen_P, rejected_P = after.chosen_P - before.chosen_P, after.rejected_P - before.rejected_P
    margin_P = chosen_P - rejected_P
    ones_P = np.ones(len(margin_P))
    columns = [margin_P, np.sign(margin_P) / 2, chosen_P, rejected_P]
    margin, accuracy, chosen, rejected = ratio_intervals(
        [(column_P, ones_P) for column_P in columns], [False, False, False, True]
    )
    if abs(accuracy.delta) == 0.5 and len(margin_P) > 1:
        # No draw differs from another, which is no certainty: the exact bound (Clopper and Pearson 1934).
        room = 1 - TAIL ** (1 / len(margin_P))
        bounds = (0.5 - room, 0.5) if accuracy.delta > 0 else (-0.5, room - 0.5)
        accuracy = replace(accuracy, low=bounds[0], high=bounds[1])
    return Moved(margin, accuracy, chosen, rejected)


def save(scores: PairScores, file: Path) -> None:
    """Writes scores; the file appears only when complete. StorageError when the disk refuses."""
    write_arrays(file, {"chosen": scores.chosen_P, "rejected": scores.rejected_P})


def load(file: Path) -> PairScores:
    """Reads what `save` wrote."""
    with np.load(file, allow_pickle=False) as held:
        return PairScores(held["chosen"], held["rejected"])
