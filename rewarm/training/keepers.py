"""The retention methods of a leg as one: every hook of the loop reaches each of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from rewarm.objectives.head_terms import HeadTerm
from rewarm.retention import Keeper, Together
from rewarm.types import Batch


class Keepers:
    """Keepers by the name of their method, in the plan's order; none is allowed, and then every hook does nothing."""

    def __init__(self, held: Mapping[str, Keeper]) -> None:
        self.held = dict(sorted(held.items(), key=lambda item: item[1].turn))

    def joined(self, together: Together) -> Keepers:
        """The same, each method knowing of the processes that make the steps together, if there are several."""
        if together.size > 1:
            for keeper in self.held.values():
                keeper.join(together)
        return self

    def moments(self) -> dict[str, Tensor]:
        """The second moments that the optimizer begins with, by parameter."""
        return {name: value for keeper in self.held.values() for name, value in keeper.moments().items()}

    def pace(self, step: int) -> float:
        """What Adam's part of the update is scaled by."""
        return prod(keeper.pace(step) for keeper in self.held.values())

    def terms(self, batch: Batch) -> tuple[HeadTerm, ...]:
        """The terms of a micro-batch's loss that look at its logits."""
        found = (keeper.term(batch) for keeper in self.held.values())
        return tuple(term for term in found if term is not None)

    def losses(self, batch: Batch, scale: float) -> None:
        """Adds the gradients of further losses of a micro-batch."""
        for keeper in self.held.values():
            loss = keeper.loss(batch, scale)
            if loss is not None:
                # Autocast, under which the loss was made, would round the gradients of what was kept in fp32.
                with torch.autocast(loss.device.type, enabled=False):
                    loss.backward()

    def gradients(self, step: int) -> None:
        """Lets each method change the gradients of the step."""
        for keeper in self.held.values():
            keeper.gradients(step)

    def before_update(self, step: int) -> None:
        """Lets each method look at the weights before an update."""
        for keeper in self.held.values():
            keeper.before_update(step)

    def update(self, step: int, rate: float) -> None:
        """Lets each method change the weights after an update."""
        for keeper in self.held.values():
            keeper.update(step, rate)

    def finish(self) -> None:
        """Lets each method say what the weights become at the end of the stage."""
        for keeper in self.held.values():
            keeper.finish()

    def state(self) -> dict[str, Tensor]:
        """What the methods hold, as live tensors under `<method>/<name>`."""
        return {f"{name}/{key}": value for name, keeper in self.held.items() for key, value in keeper.state().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a saved `state`."""
        for name, keeper in self.held.items():
            prefix = f"{name}/"
            keeper.load({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})

    def readings(self) -> dict[str, dict[str, float]]:
        """What the methods have for the journal, and what share of the trainable parameters each of them reaches."""
        found = {}
        for name, keeper in self.held.items():
            reached = {} if keeper.reached is None else {"reached": keeper.reached}
            if readings := reached | keeper.readings():
                found[name] = readings
        return found
