"""By the loss under the model as it is now: sample-efficient pre-training (SEP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from rewarm.selection import Column, Judged, Need, Scene, Selection, quantiles


class Loss(Selection):
    """Keeps documents by their loss under the current model: the `top`, the `bottom`, or half on either side of the
    `median`; `random` keeps any.

    Cossu et al., arXiv 2205.09357 (journal version): before each experience every example is scored by the model as it
    is, and a fixed number kept. Their code counts padding in the loss; here it never counts: nats over predicted
    tokens. The median's half on either side is counted in documents, by nearness in rank.
    """

    paper: ClassVar[str] = "arXiv 2205.09357"
    cost: ClassVar[str] = "a forward pass over the pool"
    needs: ClassVar[frozenset[Need]] = frozenset({"losses"})

    keep: Literal["top", "bottom", "median", "random"] = "median"

    def parts(self) -> tuple[Selection, ...]:
        """Nothing is measured for `random`."""
        return () if self.keep == "random" else (self,)

    def reads(self) -> frozenset[Need]:
        """No losses for `random`."""
        return frozenset() if self.keep == "random" else self.needs

    def measured(self) -> dict[str, Any]:
        """Losses are the same whatever is kept."""
        return {"type": "loss"}

    def measure(self, scene: Scene, learned: Any) -> Column:
        """Nats per predicted token."""
        assert scene.losses_D is not None
        return scene.losses_D

    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """The loss, or minus it, or minus the distance of its rank from the middle."""
        if self.keep == "random":
            return Judged.of(draw_D)
        (loss_D,) = values
        if self.keep != "median":
            return Judged.of(loss_D if self.keep == "top" else -loss_D)
        has_none_D = np.isnan(loss_D)
        rank_D = quantiles(loss_D, has_none_D.astype(np.uint8))
        # Rounded, or two ranks as far from the middle would not tie: then chance decides, not the side.
        distance_D = np.round(np.abs(rank_D - 0.5), 12)
        return Judged.of(np.where(has_none_D, np.nan, -distance_D))
