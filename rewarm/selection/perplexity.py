"""By novelty: the perplexity of a document under the model (ETA, when no task is known)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator

from rewarm.quantities import parse_share
from rewarm.selection import Column, Judged, Need, Scene, Selection

BELOW, ABOVE = "perplexity below the guard band", "perplexity above the guard band"


def _band(value: Any) -> Any:
    if value in (None, "none"):
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("give two shares such as [5%, 95%], or none")
    low, high = map(parse_share, value)
    if not 0 <= low < high <= 1:
        raise ValueError("give the lower share first, both from 0 to 1")
    return low, high


class Perplexity(Selection):
    """Keeps what is new to the model: documents of high perplexity, per token.

    ETA-DACP, arXiv 2311.08545. `guard` is ours: perplexity alone prefers noise (shuffled bytes, broken encodings), so
    that documents outside a band of quantiles come after all others and are counted; `guard: none` takes it away. With
    `prefer: low` it is the other way round.
    """

    paper: ClassVar[str] = "arXiv 2311.08545"
    cost: ClassVar[str] = "a forward pass over the pool"
    needs: ClassVar[frozenset[Need]] = frozenset({"losses"})

    guard: Annotated[tuple[float, float] | None, BeforeValidator(_band)] = (0.05, 0.95)
    prefer: Literal["high", "low"] = "high"

    def measured(self) -> dict[str, Any]:
        """Perplexities are the same with any guard."""
        return {"type": "perplexity"}

    def measure(self, scene: Scene, learned: Any) -> Column:
        """exp of the nats per predicted token; past the largest number it stays there."""
        assert scene.losses_D is not None
        perplexity_D: Column = np.exp(np.minimum(scene.losses_D, 700.0))
        return perplexity_D

    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """The perplexity; what lies outside the band is set aside."""
        (perplexity_D,) = values
        score_D = perplexity_D if self.prefer == "high" else -perplexity_D
        known_D = perplexity_D[~np.isnan(perplexity_D)]
        if self.guard is None or not len(known_D):
            return Judged.of(score_D)
        low, high = np.quantile(known_D, self.guard)
        return Judged.of(score_D, {BELOW: perplexity_D < low, ABOVE: perplexity_D > high})
