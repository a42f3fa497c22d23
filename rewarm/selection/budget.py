"""Scores -> a choice of documents: hard or soft, up to a number of tokens.

Hard takes the highest ranks. Soft draws without replacement, each document with a weight (q + 1/1000)^gamma, where q
is its rank from 0 (lowest score) to 1: the largest keys gamma log(q + 1/1000) + Gumbel noise are such a draw (Gumbel
top-k; Kool et al., arXiv 1903.06059). The noise is a function of seed and text alone, so the order of files and shards
changes nothing. That weights come from ranks, and gamma, is ours: the paper on efficient continual pre-training (arXiv
2311.08545) leaves soft sampling open.

The budget is exact: documents are taken in the order of their keys up to the first that does not fit, so that less than
that one's tokens are left over. None is cut (a piece has another hash, and no provenance) and none is passed over for a
shorter one behind it, which would favour short texts; only a text that is longer than the whole budget is left out
beforehand. A text that occurs more than once is chosen once.

Shapes: D documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewarm.methods import Options
from rewarm.quantities import PositiveCount, Share
from rewarm.selection import Column, Judged, quantiles
from rewarm.types import UserError

CHOSEN, OVER_BUDGET, COPY, TOO_LONG = range(4)
WHY = (
    "chosen",
    "the budget ends before it",
    "a copy of a text that stands before it",
    "longer than the whole budget",
)
"""Why a document is or is not among the chosen ones, by the numbers above."""
_FLOOR = 1e-3
"""Of the weights: the last document can be drawn, too."""


class Budget(Options):
    """How much is chosen, `tokens` of it or a `share` of the tokens; by rank alone, or `soft` with `gamma`."""

    tokens: PositiveCount | None = None
    share: Annotated[Share, Field(gt=0)] | None = None
    soft: bool = False
    gamma: Annotated[float, Field(gt=0)] = 1.0

    def of(self, all_tokens: int) -> int:
        """Tokens to choose of so many; UserError for more than there are."""
        if self.share is not None:
            return round(self.share * all_tokens)
        assert self.tokens is not None
        if self.tokens > all_tokens:
            raise UserError(
                f"a budget of {self.tokens:,} tokens is more than the {all_tokens:,} there are (each text once). Give "
                "a smaller one, or a share such as 10%"
            )
        return self.tokens


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, for every document (D,): `rank_D` is its place in the order (-1 for copies), from 0 on;
    `quantile_D` its score as a rank from 0 to 1, `key_D` what it was ordered by, `why_D` a place in `WHY`."""

    quantile_D: Column
    key_D: Column
    rank_D: NDArray[np.int64]
    why_D: NDArray[np.uint8]
    budget: int
    tokens: int
    of_tokens: int

    @property
    def documents(self) -> NDArray[np.int64]:
        """The chosen documents (N,), ascending."""
        return np.flatnonzero(self.why_D == CHOSEN)

    def counts(self) -> dict[str, int]:
        """Documents by why they are or are not chosen."""
        return {word: int((self.why_D == number).sum()) for number, word in enumerate(WHY)}


def gumbel(draw_D: Column) -> Column:
    """Standard Gumbel noise of numbers in [0, 1)."""
    # 0 is one of 2^53 numbers and has no logarithm.
    noise: Column = -np.log(-np.log(np.maximum(draw_D, 2.0**-54)))
    return noise


def keys(quantile_D: Column, draw_D: Column, budget: Budget) -> Column:
    """What documents are ordered by, the largest first."""
    if not budget.soft:
        return quantile_D
    weighed: Column = budget.gamma * np.log(quantile_D + _FLOOR)
    return weighed + gumbel(draw_D)


def choose(
    judged: Judged, hashes_D: NDArray[np.uint64], tokens_D: NDArray[np.int64], draw_D: Column, budget: Budget
) -> Choice:
    """The documents that fill a budget; equal keys are ordered by `draw_D`, a number in [0, 1) from seed and text.

    UserError when there is nothing to choose from, or nothing fits.
    """
    is_copy_D = _copies(hashes_D)
    # A copy must not push others down either.
    aside_D = np.where(is_copy_D, np.uint8(255), judged.aside_D)
    quantile_D = quantiles(judged.score_D, aside_D)
    key_D = keys(quantile_D, draw_D, budget)
    of_tokens = int(tokens_D[~is_copy_D].sum())
    allowed = budget.of(of_tokens)
    why_D = np.full(len(tokens_D), OVER_BUDGET, np.uint8)
    why_D[tokens_D > allowed] = TOO_LONG
    why_D[is_copy_D] = COPY
    order = np.lexsort((-draw_D, -key_D, aside_D != 0))
    order = order[~is_copy_D[order]]
    rank_D = np.full(len(tokens_D), -1, np.int64)
    rank_D[order] = np.arange(len(order))
    fitting = order[why_D[order] == OVER_BUDGET]
    total = np.cumsum(tokens_D[fitting])
    count = int(np.searchsorted(total, allowed, side="right"))
    if count == 0:
        raise UserError(
            f"a budget of {allowed:,} tokens holds no document: of {len(order):,} documents the shortest has "
            f"{int(tokens_D.min()) if len(order) else 0:,} tokens. Give a larger one"
        )
    why_D[fitting[:count]] = CHOSEN
    return Choice(quantile_D, key_D, rank_D, why_D, allowed, int(total[count - 1]), of_tokens)


def _copies(hashes_D: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which texts (D,) stand before already."""
    order = np.argsort(hashes_D, kind="stable")
    is_copy_D = np.zeros(len(hashes_D), bool)
    is_copy_D[order[1:]] = hashes_D[order[1:]] == hashes_D[order[:-1]]
    return is_copy_D
