"""How the weights lie over the processes of a run: whole in each of them (here), or in parts (sharding.py).

Either way the gradient of a step is the sum over all processes of that of (sum over own targets) / (targets of all), so
that a step is the same, to rounding, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.training import checkpoint
from rewarm.training.guard import Guard
from rewarm.training.journal import Journal
from rewarm.training.keepers import Keepers
from rewarm.training.optimizer import Optimizer
from rewarm.training.saving import Saver
from rewarm.training.world import World
from rewarm.types import Batch


class Replicas:
    """Every process holds all weights, gradients and moments; gradients are added up once a step."""

    def __init__(self, model: PreTrainedModel, world: World) -> None:
        self.model = model
        self.world = world

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.world.is_alone

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.world.size

    def trained(self) -> dict[str, nn.Parameter]:
        """What this process trains, by name."""
        return {name: one for name, one in self.model.named_parameters() if one.requires_grad}

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place."""
        return self.world.total(value)

    def slopes(self, batches: list[Batch], loss: Callable[[Batch, float], Tensor]) -> dict[str, Tensor]:
        """The gradient of the sum of `loss(batch, 1.0)` over batches that all processes know, by name of what this one
        trains; each makes its share of the passes. Gradients that are there stay."""
        trained = self.trained()
        held = {name: one.grad for name, one in trained.items()}
        for one in trained.values():
            one.grad = None
        for batch, counts in self.passes(batches):
            loss(batch, 1.0 if counts else 0.0).backward()
        found = {name: one.grad for name, one in trained.items() if one.grad is not None}
        for name, one in trained.items():
            one.grad = held[name]
        return found

    def passes(self, batches: list[Batch]) -> Iterator[tuple[Batch, bool]]:
        """The micro-batches of a step that are this process's, in order, and whether each counts.

        It must be used up: after the last one it makes the gradients those of all passes of all processes.
        A function of the step's micro-batches, the rank and the number of processes: every so-many-th from the rank on.
        """
        yield from ((batch, True) for batch in batches[self.world.rank :: self.world.size])
        if not self.world.is_alone:
            self.world.add_gradients([one for one in self.model.parameters() if one.requires_grad])

    def clip(self, optimizer: Optimizer) -> Tensor:
        """Clips the gradients of the step in place; their norm before, the same in every process."""
        return optimizer.clip()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Meanwhile the model can be used freely, by each process for itself, but not trained."""
        yield

    def do(self, action: Callable[[PreTrainedModel, int], None], model: PreTrainedModel, step: int) -> None:
        """An action that uses the model after so many steps."""
        with self.whole():
            action(model, step)

    def newest(self, folder: Path, key: str, notes: list[str]) -> Path | None:
        """The newest good checkpoint (`checkpoint.latest`), as the first process finds it."""

        def found() -> str:
            newest = checkpoint.latest(folder, key, notes)
            return "" if newest is None else str(newest)

        name = self.world.agreed(found)
        return Path(name) if name else None

    def journal(self, file: Path, start: int) -> Journal:
        """The journal, which the first process writes."""
        return Journal(file, start) if self.world.is_first else _Unwritten(file, start)

    def saver(self, *given: Any) -> Saver:
        """What saves, in the first process."""
        return Saver(*given) if self.world.is_first else _Unsaved(*given)

    def state(self, optimizer: Optimizer, keepers: Keepers, guard: Guard) -> checkpoint.State:
        """What a checkpoint holds; asked of all processes at once, and of use in the first."""
        return checkpoint.state_of(self.model, optimizer, keepers, guard) if self.world.is_first else {}

    def restore(self, folder: Path, optimizer: Optimizer, keepers: Keepers, guard: Guard) -> tuple[int, list[float]]:
        """Goes on from a checkpoint, whatever processes wrote it; its step, and the losses not yet logged."""
        return checkpoint.restore(folder, self.model, optimizer, keepers, guard)


class _Unwritten(Journal):
    """The journal of another process than the first."""

    def __init__(self, file: Path, start: int) -> None:
        self.file = file

    def write(self, entry: dict[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""


class _Unsaved(Saver):
    """The saver of another process than the first."""

    def save(self, *given: Any, **more: Any) -> None:
        """Nothing."""
