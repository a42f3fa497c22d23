"""Moments: the optimizer begins knowing how large the gradients of old text are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rewarm.quantities import Share
from rewarm.retention import Cut, Keeper, Retention, Scene, Tensors
from rewarm.retention.fisher import LossGradients, passes
from rewarm.retention.penalty import permuted, trainable
from rewarm.stages import NEW, OLD, Name


class Moments(Retention):
    """Adam's second moments begin as the mean of squared gradients of `batches` steps' worth of `text`, not at zero.

    Adam divides by their root. So what matters for the old text moves less from the first update on, and what hardly
    matters moves more: the knowledge of EWC without its penalty, at no cost per step, for as long as Adam remembers
    (about 1 / (1 - beta2) updates: 20 at 0.95). Where they begin at zero, every parameter moves by the whole rate in
    the first updates. A base's own optimizer state would do the same (`optimizer_state: keep-second-moment`), but few
    bases come with one.

    Ours, not from a paper; the squares are near the Fisher information of EWC (arXiv 1612.00796). They are those of
    whole steps, as Adam's are: squares of single rows are larger. No moment begins below `floor` times its parameter's
    mean; where beta2 is near 1, what the old text does not touch may leap without. First moments begin at zero, or go
    on where `optimizer_state` keeps them. importance `shuffled` is the control: each parameter's values permuted.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "ours, after arXiv 1612.00796"
    cost: ClassVar[str] = "`batches` steps' gradients at the start of a stage; nothing per step"
    copies: ClassVar[float] = 1.0
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"floor": (0.0, 0.1)}

    text: Name = OLD
    batches: Annotated[int, Field(ge=0)] = 8
    floor: Share = 0.0
    importance: Literal["measured", "shuffled"] = "measured"

    @classmethod
    def off(cls) -> Moments:
        """Moments begin at zero."""
        return cls(batches=0)

    def control(self) -> Moments:
        """As large moments in the wrong places of each parameter."""
        return self.model_copy(update={"importance": "shuffled"})

    def texts(self) -> tuple[str, ...]:
        """What the squares are measured on."""
        return () if self.text == NEW else (self.text,)

    def measure(self, scene: Scene) -> Tensors:
        """The mean of squared gradients, by parameter; nothing where it is off."""
        if not self.batches:
            return {}
        gradients = LossGradients(scene.model, scene.precision)
        rows = scene.rows(self.text, self.batches * scene.rows_per_step)
        squares = {name: torch.zeros_like(weight) for name, weight in gradients.parameters.items()}
        for batch in range(self.batches):
            step = list(islice(rows, scene.rows_per_step))
            slopes = gradients.sum(passes(step, len(step)), 1 / max(1, sum(row.num_targets for row in step)))
            for square, slope in zip(squares.values(), slopes, strict=True):
                if slope is not None:
                    square.addcmul_(slope, slope, value=1 / self.batches)
            scene.tell(f"moments of {self.text} text", batch + 1, self.batches, "steps")
        return squares

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """What the optimizer begins with."""
        values = permuted(measured, scene.seed) if self.importance == "shuffled" else dict(measured)
        if self.floor:
            values = {name: value.clamp(min=self.floor * float(value.mean())) for name, value in values.items()}
        weights = trainable(scene.model)
        return Known(values, sum(weight.numel() for weight in weights.values()) if self.batches else None)


class Known(Keeper):
    """Gives the optimizer its second moments, once."""

    def __init__(self, values: Tensors, trained: int | None) -> None:
        self.values = values
        if trained is not None:
            self.reached = sum(int(torch.count_nonzero(value)) for value in values.values()) / max(1, trained)

    def divide(self, own: Mapping[str, nn.Parameter], cut: Cut, total: Callable[[float], float]) -> None:
        """The parts of the moments."""
        super().divide(own, cut, total)
        self.values = {name: cut(name, value) for name, value in self.values.items()}

    def moments(self) -> Tensors:
        """The values, which are then the optimizer's."""
        values, self.values = self.values, {}
        return values
