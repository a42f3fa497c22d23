"""A quadratic penalty on how far parameters are from an anchor, added to the gradients rather than to the loss.

Its gradient is known, so that no graph is built for it: one pass over the weights per step, through one buffer of the
size of the largest parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.retention import Cut, Keeper, Scene
from rewarm.types import UserError

Anchor = Literal["start", "base", "random"]
"""Where weights are pulled to: where the stage starts, the untouched base, or (the control) the start permuted."""


def trainable(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The parameters that train, by name; tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def copies(model: PreTrainedModel, of: PreTrainedModel | None = None) -> dict[str, Tensor]:
    """A copy, by name, of every parameter that trains in `model`; its values in `of`, where that has the parameter.

    UserError when `of` has other layers, so that a name would mean another one there.
    """
    if of is not None and (own := _layers(model)) != (others := _layers(of)):
        raise UserError(
            f"anchor 'base' cannot be had: the model has {own} layers, the base {others}, because an adapter put "
            "layers between. Set anchor to start"
        )
    values = dict((of or model).named_parameters())
    return {name: values[name].detach().clone() for name in trainable(model) if name in values}


def _layers(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().num_hidden_layers)


def permuted(tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The values of each tensor at other places of it: as large as before, and telling nothing."""
    source = torch.Generator().manual_seed(seed % (1 << 63))
    return {
        name: value.flatten()[torch.randperm(value.numel(), generator=source).to(value.device)].view_as(value)
        for name, value in tensors.items()
    }


def anchors(scene: Scene, anchor: Anchor) -> dict[str, Tensor]:
    """The weights that those which train are pulled to, by name; `base` has none for an adapter's."""
    found = copies(scene.model, scene.base() if anchor == "base" else None)
    return permuted(found, scene.seed) if anchor == "random" else found


class Penalty(Keeper):
    """strength / 2 x the sum of weight x (parameter - anchor)^2 over the parameters that train.

    `anchors` by name; `weights` by name in the shape of the parameter (the same weight, 1, for all where it is None).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        strength: float,
        anchors: Mapping[str, Tensor],
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.parameters = {name: parameter for name, parameter in trainable(model).items() if name in anchors}
        self.strength = strength
        self.anchors = anchors
        self.weights = weights
        largest = max((parameter.numel() for parameter in self.parameters.values()), default=0)
        self._buffer = torch.empty(largest, device=model.device)
        held = sum(self._held(name) for name in self.parameters)
        self.reached = held / max(1, sum(parameter.numel() for parameter in trainable(model).values()))

    def _held(self, name: str) -> int:
        """How many values of a parameter the penalty acts on."""
        if self.weights is None:
            return self.parameters[name].numel()
        return int(torch.count_nonzero(self.weights[name])) if name in self.weights else 0

    def _pulls(self, name: str) -> Tensor:
        """weight x (parameter - anchor), in the buffer."""
        parameter = self.parameters[name].detach()
        pull = self._buffer[: parameter.numel()].view_as(parameter)
        torch.sub(parameter, self.anchors[name], out=pull)
        return pull if self.weights is None else pull.mul_(self.weights[name])

    def divide(self, own: Mapping[str, nn.Parameter], cut: Cut, total: Callable[[float], float]) -> None:
        """The same for the parts: the penalty is a sum over values."""
        super().divide(own, cut, total)
        self.anchors = {name: cut(name, self.anchors[name]) for name in self.parameters}
        if self.weights is not None:
            self.weights = {name: cut(name, self.weights[name]) for name in self.parameters if name in self.weights}
        self.parameters = {name: own[name] for name in self.parameters}
        largest = max((parameter.numel() for parameter in self.parameters.values()), default=0)
        self._buffer = self._buffer.new_empty(largest)

    @torch.no_grad()
    def gradients(self, step: int) -> None:
        """Adds the penalty's gradient."""
        if self.strength == 0:
            return
        for name, parameter in self.parameters.items():
            if self.weights is not None and name not in self.weights:
                continue
            pull = self._pulls(name)
            if parameter.grad is None:
                parameter.grad = pull * self.strength
            else:
                parameter.grad.add_(pull, alpha=self.strength)

    @torch.no_grad()
    def readings(self) -> dict[str, float]:
        """The penalty, in nats per token as the loss is, and the Euclidean distance from the anchor."""
        penalty, squares = 0.0, 0.0
        for name, parameter in self.parameters.items():
            away = parameter.detach() - self.anchors[name]
            squares += float(away.pow(2).sum())
            if self.weights is None or name in self.weights:
                penalty += float((self._pulls(name) * away).sum())
        return {"penalty": self.strength / 2 * self.total(penalty), "distance": math.sqrt(self.total(squares))}
