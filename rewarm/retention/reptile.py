"""Reptile, the gradient alignment of MER: every so many steps, most of the way back to where the weights were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from rewarm.retention import Keeper, Retention, Scene
from rewarm.retention.shadow import Shadow
from rewarm.retention.spans import Span, steps_of


class Reptile(Retention):
    """Every k steps: weights <- weights k steps ago + epsilon x (weights - weights k steps ago).

    Abbes et al., arXiv 2508.01908, from MER (Riemer et al., arXiv 1810.11910); k = `every` = 500 and epsilon = 0.1 are
    the paper's, beside replay. `every` may be a share of the stage. Each interval of k updates counts alike: the last
    one of a stage is interpolated too where it is shorter, so that a stage of fewer than k steps goes `epsilon` of the
    way once, at its end. Nothing happens before k updates are made. Adam's moments stay those of the way there, as in
    the paper's code.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2508.01908"
    cost: ClassVar[str] = "one copy of the weights, one pass over them every k steps"
    copies: ClassVar[float] = 1.0
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"every": ("2%", "10%"), "epsilon": (0.1, 0.5)}
    in_release: ClassVar[bool] = False
    brisk: ClassVar[Mapping[str, Any]] = {"every": 5, "epsilon": 0.5}

    every: Span = 500.0
    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.1

    @classmethod
    def off(cls) -> Reptile:
        """All of the way is gone."""
        return cls(epsilon=1.0)

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The interpolation; `epsilon` 1 is none."""
        if self.epsilon == 1:
            return Keeper()
        return Interpolation(scene, max(1, round(steps_of(self.every, scene.steps))), self.epsilon)


class Interpolation(Shadow):
    """Holds the weights at the start of each interval of `every` steps, and goes `epsilon` of the way from them.

    Its turn is the last, and so is its last interval, so that beside an average it goes part of the way to that.
    """

    turn: ClassVar[int] = 2

    def __init__(self, scene: Scene, every: int, epsilon: float) -> None:
        super().__init__(scene.model)
        self.every, self.epsilon, self.steps = every, epsilon, scene.steps

    def _interpolate(self) -> None:
        self.draw_near(self.epsilon)
        self.restore()

    def update(self, step: int, rate: float) -> None:
        """Interpolates once an interval is complete; `finish` does it for the last one."""
        if (step + 1) % self.every == 0 and step + 1 < self.steps:
            self._interpolate()

    def finish(self) -> None:
        """Interpolates the last interval, which may be shorter."""
        self._interpolate()
