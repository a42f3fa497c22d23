"""Mix-review: old text is mixed in at the start above all, and less with every pass over the new text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from math import ceil
from typing import Annotated, ClassVar

from pydantic import Field

from rewarm.mixtures import Mixture
from rewarm.types import UserError


class MixReview(Mixture):
    """In epoch e of the new text, counted from 0, |D1| x amount x decay^e tokens of old text are mixed in.

    He et al., arXiv 1910.07117; amount 4 and decay 0.7 as CKL, arXiv 2110.03215, has them (its published code may
    never have applied the decay). |D1| are the new tokens of one epoch: the stage's budget, which counts new tokens
    only, is cut into `epochs` equal parts, the last of which may be a fraction. Where the stage's budget is in epochs
    the two must agree. The old text comes on top, so that the share of old text over the stage follows from the
    options (72 % with the defaults) and the stage's replay may name neither `share` nor `mode`.
    An epoch e takes 1 + amount x decay^e tokens for each new one, so that earlier ones are longer, with a share of
    old text of amount x decay^e / (1 + amount x decay^e): 80, 74, 66 and 58 % with the defaults. The old corpus is
    the last of the weights, where a stage puts what it replays.
    """

    paper: ClassVar[str] = "arXiv 1910.07117; arXiv 2110.03215"
    replaces: ClassVar[frozenset[str]] = frozenset({"share", "mode"})

    amount: Annotated[float, Field(gt=0)] = 4.0
    decay: Annotated[float, Field(gt=0, le=1)] = 0.7
    epochs: Annotated[float, Field(gt=0)] = 4.0

    def _old_per_new(self) -> list[float]:
        """Old tokens per new token in each epoch."""
        return [self.amount * self.decay**epoch for epoch in range(ceil(self.epochs))]

    def _ends(self) -> list[float]:
        """Tokens up to the end of each epoch, in units of |D1|."""
        ratios = self._old_per_new()
        return list(accumulate(min(1.0, self.epochs - epoch) * (1 + ratio) for epoch, ratio in enumerate(ratios)))

    def replayed(self, epochs: float | None) -> float:
        """Old tokens per new token over the stage; UserError for a budget of other epochs than the option's."""
        if epochs is not None and epochs != self.epochs:
            raise UserError(
                f"mixture 'mix-review' counts {self.epochs:g} epochs, and the stage's budget is {epochs:g} of them. "
                "Give both the same number"
            )
        return self._ends()[-1] / self.epochs - 1

    def shares(self, progress: float, weights: Mapping[str, float]) -> dict[str, float]:
        """The last corpus has its epoch's share; the others share the rest by their weights."""
        *new, old = weights
        if not new:
            return {old: 1.0}
        ends, ratios = self._ends(), self._old_per_new()
        ratio = ratios[min(bisect_right(ends, progress * ends[-1] + 1e-9), len(ends) - 1)]
        total = sum(weights[name] for name in new)
        return {name: weights[name] / total / (1 + ratio) for name in new} | {old: ratio / (1 + ratio)}
