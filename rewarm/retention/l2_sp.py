"""L2-SP: a pull towards the starting point, the same for every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from rewarm.retention import Keeper, Retention, Scene
from rewarm.retention.penalty import Anchor, Penalty, anchors


class L2SP(Retention):
    """The loss plus strength / 2 x the squared distance of the weights from where the stage starts.

    Li, Grandvalet and Davoine, arXiv 1802.01483. It is a penalty in the loss, so Adam sees it, unlike weight decay.
    With anchor `base` the pull is towards the untouched base, in every stage. `random` is the control: the values of
    each starting parameter, permuted, so that the pull is as strong and leads nowhere.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 1802.01483"
    cost: ClassVar[str] = "one copy of the weights, one pass over them per step"
    copies: ClassVar[float] = 1.0
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"strength": (0.01, 0.1, 1.0)}

    strength: Annotated[float, Field(ge=0)] = 0.1
    anchor: Anchor = "start"

    @classmethod
    def off(cls) -> L2SP:
        """No pull."""
        return cls(strength=0.0)

    def control(self) -> L2SP:
        """A pull towards permuted weights."""
        return self.model_copy(update={"anchor": "random"})

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The penalty."""
        return Penalty(scene.model, self.strength, anchors(scene, self.anchor))
