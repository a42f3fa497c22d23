"""RecAdam: an update that goes over, along a sigmoid, from a pull towards the starting point to Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from rewarm.retention import Cut, Keeper, Retention, Scene
from rewarm.retention.penalty import Anchor, anchors, trainable
from rewarm.retention.shadow import distance
from rewarm.retention.spans import Span, steps_of


class RecAdam(Retention):
    """theta <- theta - rate x lambda x Adam, then - min(1, rate x (1 - lambda) x pull) x (theta - theta*).

    Chen et al., arXiv 2004.12651; lambda(t) = 1 / (1 + exp(-(t - center) / width)) at update t = 1, 2, ... The paper's
    form is center 250, width 2 (k = 1 / width = 0.5) and pull 5000. Shares of the stage stand in for the first two by
    default, since a stage that ends before 250 updates would learn nothing. A width of many times the stage, such as
    1000000, holds lambda at a half. No `center` is lambda = 1: AdamW. Weights decay at the whole rate, as in the
    paper's code, but before the pull, so that a pull of all the way ends at theta* itself. The minimum is not the
    paper's: above a rate x pull of 1 the pull would overshoot, above 2 diverge.

    anchor `base` is the untouched base; `random` the control, the start permuted within each parameter.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2004.12651"
    cost: ClassVar[str] = "one copy of the weights, one pass over them per step"
    copies: ClassVar[float] = 1.0
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"width": (0.1, 1_000_000), "pull": (20.0, 100.0)}
    in_release: ClassVar[bool] = False
    brisk: ClassVar[Mapping[str, Any]] = {"center": 6, "width": 2}

    center: Span | None = 0.25
    width: Span = 0.1
    pull: Annotated[float, Field(ge=0)] = 5000.0
    anchor: Anchor = "start"

    @classmethod
    def off(cls) -> RecAdam:
        """Adam from the first update on."""
        return cls(center=None)

    def control(self) -> RecAdam:
        """A pull towards permuted weights."""
        return self.model_copy(update={"anchor": "random"})

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The two halves of the update."""
        return Recall(self, scene)


class Recall(Keeper):
    """Scales Adam's part of each update by lambda, and pulls the weights afterwards."""

    def __init__(self, method: RecAdam, scene: Scene) -> None:
        self.center = None if method.center is None else steps_of(method.center, scene.steps)
        self.width = steps_of(method.width, scene.steps)
        self.strength = method.pull
        held, weights = anchors(scene, method.anchor), trainable(scene.model)
        self.names, self.anchors = list(held), list(held.values())
        self.weights: list[Tensor] = [weights[name] for name in held]
        pulled = sum(weight.numel() for weight in self.weights)
        self.reached = pulled / max(1, sum(weight.numel() for weight in weights.values()))
        self._last = 1.0

    def divide(self, own: Mapping[str, nn.Parameter], cut: Cut, total: Callable[[float], float]) -> None:
        """The same for the parts."""
        super().divide(own, cut, total)
        self.anchors = [cut(name, value) for name, value in zip(self.names, self.anchors, strict=True)]
        self.weights = [own[name] for name in self.names]

    def pace(self, step: int) -> float:
        """lambda."""
        # tanh is the same sigmoid, but never overflows, and is exactly 0 and 1 far from the center.
        away = math.inf if self.center is None else (step + 1 - self.center) / self.width
        self._last = (1 + math.tanh(away / 2)) / 2
        return self._last

    @torch.no_grad()
    def update(self, step: int, rate: float) -> None:
        """The pull, at most all of the way."""
        share = min(1.0, rate * (1 - self.pace(step)) * self.strength)
        if share > 0:
            torch._foreach_lerp_(self.weights, self.anchors, share)

    @torch.no_grad()
    def readings(self) -> dict[str, float]:
        """lambda of the last update, and the Euclidean distance from the anchor."""
        away = [torch.linalg.vector_norm(weight - to) for weight, to in zip(self.weights, self.anchors, strict=True)]
        return {"lambda": self._last, "distance": distance(away, self.total)}
