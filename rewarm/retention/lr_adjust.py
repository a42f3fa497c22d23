"""LR ADJUST: each later stage of a stream learns at a lower peak rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from rewarm.retention import Keeper, Retention, Scene
from rewarm.types import StreamState


class LrAdjust(Retention):
    """peak of stage i = max(floor, gamma x peak of stage i - 1), where stage 0 starts from the base and has its own.

    Winata et al., arXiv 2305.16252 (51 languages, one after the other). Their values are not known to us: gamma 0.5
    and no floor are this project's choice. i is counted on the path from the base, releases included; the rates meant
    are those the plan gives its stages, which are the same in the paper. `floor` is a learning rate, and never raises
    a stage above its own. What `rewarm check` forecasts is the lowered rate.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2305.16252"
    cost: ClassVar[str] = "nothing"
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"gamma": (0.2, 0.5, 0.8)}

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5
    floor: Annotated[float, Field(ge=0)] = 0.0

    @classmethod
    def off(cls) -> LrAdjust:
        """Every stage at its own rate."""
        return cls(gamma=1.0)

    def peak(self, peak: float, past: StreamState) -> float:
        """gamma^i x the stage's own peak, not below the floor."""
        return min(peak, max(self.floor, self.gamma**past.stage * peak))

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """No hooks: it acts through the peak alone."""
        return Keeper()
