"""A second set of the weights that train, kept beside them and saved with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.retention import Cut, Keeper, Tensors
from rewarm.retention.penalty import copies, trainable


def distance(lengths: Sequence[Tensor], total: Callable[[float], float]) -> float:
    """The length of a vector whose parts, over all processes, have these lengths."""
    return math.sqrt(total(float(torch.stack(list(lengths)).double().square().sum())))


class Shadow(Keeper):
    """`held` is a copy, by name, of the weights as the leg starts; a method moves it and the weights on."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.held = copies(model)
        self.weights: list[Tensor] = list(trainable(model).values())
        self.reached = 1.0 if self.held else 0.0

    def divide(self, own: Mapping[str, nn.Parameter], cut: Cut, total: Callable[[float], float]) -> None:
        """The same for the parts."""
        super().divide(own, cut, total)
        self.held = {name: cut(name, value) for name, value in self.held.items()}
        self.weights = [own[name] for name in self.held]

    @torch.no_grad()
    def draw_near(self, share: float) -> None:
        """Moves what is held the given share of the way to the weights."""
        torch._foreach_lerp_(list(self.held.values()), self.weights, share)

    @torch.no_grad()
    def restore(self) -> None:
        """Makes the weights what is held."""
        torch._foreach_copy_(self.weights, list(self.held.values()))

    def state(self) -> Tensors:
        """What is held."""
        return self.held

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what was held."""
        for name, value in self.held.items():
            value.copy_(state[name])

    @torch.no_grad()
    def readings(self) -> dict[str, float]:
        """The Euclidean distance of the weights from what is held."""
        pairs = zip(self.weights, self.held.values(), strict=True)
        away = [torch.linalg.vector_norm(weight - held) for weight, held in pairs]
        return {"distance": distance(away, self.total)}
