"""What losses have in common that are never compiled and have nothing to tell of a step but themselves."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Uncompiled:
    """The parts of a `Loss` that such a one does not need."""

    def join(self, total: Callable[[Tensor], Tensor]) -> None:
        """Nothing: a loss is a sum over batches, whoever makes them."""

    def begin_step(self) -> None:
        """Nothing: the loss itself is all there is to read of a step."""

    def readings(self) -> dict[str, float]:
        """None but the loss."""
        return {}

    def compile(self) -> None:
        """Not to be had: a plan that asks for it is refused."""
        raise NotImplementedError(f"{type(self).__name__} is not compiled")

    def run_eagerly(self) -> None:
        """It always does."""
