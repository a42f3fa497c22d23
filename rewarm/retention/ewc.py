"""EWC: a pull towards the starting point, the stronger the more a parameter matters for the old text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rewarm.quantities import Share
from rewarm.retention import Keeper, Retention, Scene, Tensors
from rewarm.retention.fisher import fisher
from rewarm.retention.penalty import Penalty, copies, permuted, trainable
from rewarm.stages import NEW, OLD, Name

IMPORTANCE, ANCHOR = "importance/", "anchor/"


class EWC(Retention):
    """The loss plus strength / 2 x the sum of F (theta - theta*)^2, F being the diagonal of the Fisher information.

    Kirkpatrick et al., arXiv 1612.00796. F is the mean of squared gradients of `rows` single rows of `text`, measured
    before the first stage. `online` (Schwarz et al., arXiv 1805.06370): at a stage's end F becomes gamma F + the F of
    the stage's own text, and theta* is always where a stage starts. Otherwise each stage adds a penalty of its own;
    their sum is held as one, with F summed and theta* averaged by F, which is the same but for a constant.

    `normalise` divides each F by its mean over the parameters, so that none counts more by the size of its gradients,
    as the online paper does, and a strength means the same for another model: that of L2-SP, on average. Without it F
    is the papers'. importance `shuffled` is the control: the values of F permuted within each parameter.

    Where the stage before left no F for some parameter that trains now, F is measured anew.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 1612.00796, arXiv 1805.06370"
    cost: ClassVar[str] = (
        "`rows` rows passed singly at each end of a stage, two copies of the weights, one pass per step"
    )
    copies: ClassVar[float] = 2.0
    of_text: ClassVar[bool] = True
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"strength": (0.01, 0.1, 1.0)}
    brisk: ClassVar[Mapping[str, Any]] = {"rows": 8}

    strength: Annotated[float, Field(ge=0)] = 0.1
    text: Name = OLD
    rows: Annotated[int, Field(gt=0)] = 256
    online: bool = True
    gamma: Share = 0.9
    importance: Literal["fisher", "shuffled"] = "fisher"
    normalise: bool = True

    @classmethod
    def off(cls) -> EWC:
        """No pull."""
        return cls(strength=0.0, rows=1)

    def control(self) -> EWC:
        """A pull on the wrong values of each parameter."""
        return self.model_copy(update={"importance": "shuffled"})

    def texts(self) -> tuple[str, ...]:
        """What the first F is measured on."""
        return () if self.text == NEW else (self.text,)

    def measure(self, scene: Scene) -> Tensors:
        """F and, unless online, the anchor, by parameter: what an earlier stage left, or F on `text` and the start."""
        weights = trainable(scene.model)
        before = scene.before if all(IMPORTANCE + name in scene.before for name in weights) else {}
        held = {
            IMPORTANCE: _under(IMPORTANCE, before) or self._fisher(scene, self.text),
            ANCHOR: {} if self.online else _under(ANCHOR, before) or copies(scene.model),
        }
        return _joined(held, weights)

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The penalty."""
        weights = _under(IMPORTANCE, measured)
        if self.importance == "shuffled":
            weights = permuted(weights, scene.seed)
        return Penalty(scene.model, self.strength, _under(ANCHOR, measured) or copies(scene.model), weights)

    def leave(self, scene: Scene, measured: Mapping[str, Tensor]) -> Tensors:
        """F and, unless online, the anchor with this stage's in them."""
        old, anchors = _under(IMPORTANCE, measured), _under(ANCHOR, measured)
        new, ends = self._fisher(scene, NEW), trainable(scene.model)
        for name, value in old.items():
            more = new[name].to(value.device)
            if self.online:
                old[name] = self.gamma * value + more
                continue
            old[name] = value + more
            share = more / old[name].clamp(min=torch.finfo(more.dtype).tiny)
            anchors[name] = torch.lerp(anchors[name], ends[name].detach().to(value.device), share)
        return _joined({IMPORTANCE: old, ANCHOR: anchors}, ends)

    def _fisher(self, scene: Scene, text: str) -> Tensors:
        label = f"importance of weights on {text} text"
        found = fisher(
            scene.model,
            scene.rows(text, self.rows),
            scene.precision,
            lambda done: scene.tell(label, done, self.rows, "rows"),
        )
        mean = sum(float(value.sum()) for value in found.values()) / sum(value.numel() for value in found.values())
        if self.normalise and mean > 0:
            for value in found.values():
                value.div_(mean)
        return found


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _joined(held: Mapping[str, Mapping[str, Tensor]], names: Mapping[str, Tensor]) -> Tensors:
    return {prefix + name: values[name] for prefix, values in held.items() for name in names if name in values}
