"""A-GEM: no step along a direction that raises the loss on old text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from rewarm.objectives.probing import evaluating
from rewarm.retention import Cut, Keeper, Retention, Scene, Tensors
from rewarm.retention.fisher import LossGradients, passes
from rewarm.stages import NEW, OLD, Name


class AGEM(Retention):
    """Where the gradient g has g . r < 0 with r, the gradient on `rows` old rows, it loses that part of it.

    g <- g - (g . r / r . r) r, over all trained parameters as one vector, before clipping. Chaudhry et al., arXiv
    1812.00420. The old rows are `memory` rows of `text`, taken in turn every `every` steps (0: never; the paper: 1). r
    is measured without dropout. What Adam makes of a projected gradient is not orthogonal to r any more. The control
    takes r from the text that is learned, of other rows.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 1812.00420"
    cost: ClassVar[str] = "a pass forward and back over `rows` more rows every `every` steps, one copy of the gradients"
    copies: ClassVar[float] = 3.0
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"rows": (4, 16)}

    text: Name = OLD
    rows: Annotated[int, Field(gt=0)] = 8
    every: Annotated[int, Field(ge=0)] = 1
    memory: Annotated[int, Field(gt=0)] = 256

    @model_validator(mode="after")
    def _memory_holds_a_step(self) -> AGEM:
        if self.rows > self.memory:
            raise ValueError(f"rows {self.rows} exceeds memory {self.memory}, from which they come: raise memory")
        return self

    @classmethod
    def off(cls) -> AGEM:
        """Never."""
        return cls(every=0)

    def control(self) -> AGEM:
        """A reference that knows nothing of the old text."""
        return self.model_copy(update={"text": NEW})

    def texts(self) -> tuple[str, ...]:
        """Where the old rows come from."""
        return () if self.text == NEW else (self.text,)

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The projection; `every` 0 is none."""
        return Projection(self, scene) if self.every else Keeper()


class Projection(Keeper):
    """Compares the gradient with one on old rows, which are a function of the step alone."""

    def __init__(self, method: AGEM, scene: Scene) -> None:
        self.every, self.rows = method.every, method.rows
        self.memory = list(scene.rows(method.text, method.memory))
        self.slopes = LossGradients(scene.model, scene.precision)
        self.parameters = list(self.slopes.parameters.values())
        self.reached = 1.0 if self.parameters else 0.0
        # Steps compared, steps projected, and the last cosine: one tensor, so that a resumed journal is the unbroken.
        self._seen = torch.zeros(3, dtype=torch.float64)

    def divide(self, own: Mapping[str, nn.Parameter], cut: Cut, total: Callable[[float], float]) -> None:
        """The same for the parts: products are sums over them."""
        super().divide(own, cut, total)
        self.slopes.objective.run_eagerly()  # which finds how layers are put together
        self.parameters = [own[name] for name in self.slopes.parameters]

    def reference(self, step: int) -> list[Tensor | None]:
        """The gradient of the mean loss per target on the old rows of a step, in the parameters' order."""
        first = step // self.every * self.rows
        chosen = [self.memory[(first + place) % len(self.memory)] for place in range(self.rows)]
        share = self.rows if self.together is None else -(-self.rows // self.together.size)
        scale = 1 / max(1, sum(row.num_targets for row in chosen))
        parts = passes(chosen, share)
        if self.together is not None:
            with evaluating(self.slopes.objective.model):
                found = self.together.slopes(parts, lambda part, counts: self.slopes.loss(part, counts * scale))
            return [found.get(name) for name in self.slopes.parameters]
        return self.slopes.sum(parts, scale)

    def gradients(self, step: int) -> None:
        """Takes out of the step's gradient what points against the reference."""
        if step % self.every:
            return
        self.project(self.reference(step))

    @torch.no_grad()
    def project(self, reference: Sequence[Tensor | None]) -> None:
        """The same for a given reference, one tensor for each parameter."""
        gradient = [parameter.grad for parameter in self.parameters]
        own, across, square = (
            self.total(_product(left, right))
            for left, right in ((gradient, gradient), (gradient, reference), (reference, reference))
        )
        is_against = across < 0
        self._seen[:2] += torch.tensor([1, is_against])
        self._seen[2] = across / (own**0.5 * square**0.5) if own and square else 0.0
        if not is_against:
            return
        for parameter, slope in zip(self.parameters, reference, strict=True):
            if slope is not None:
                grown = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = grown.add_(slope, alpha=-across / square)

    def state(self) -> Tensors:
        """The counts and the cosine of the readings."""
        return {"seen": self._seen}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Counts on."""
        self._seen.copy_(state["seen"])

    def readings(self) -> dict[str, float]:
        """The share of the steps compared that were projected, and the cosine with the reference before that, last."""
        compared, projected, cosine = self._seen.tolist()
        return {"projected": projected / max(1.0, compared), "cosine": cosine}


def _product(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> float:
    """The inner product of two vectors in parts; a part that is missing is zero."""
    parts = [
        torch.dot(first.flatten(), second.flatten())
        for first, second in zip(left, right, strict=True)
        if first is not None and second is not None
    ]
    return float(torch.stack(parts).double().sum()) if parts else 0.0
