"""What one leg (a stage, or the branch annealed for its release) is for the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rewarm.objectives import Loss, Rows
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.schedules import Schedule
from rewarm.stages import Spikes
from rewarm.training import compiling
from rewarm.training.replicas import Replicas
from rewarm.types import StreamState


@dataclass(frozen=True, slots=True)
class Leg:
    """What one leg trains on and how: everything the loop reads. `key` guards resumption against changed inputs.

    `seed` starts the random numbers of dropout, so that a leg does not depend on what its process did before it.
    `checkpointed` layers compute their activations again for the backward pass, which saves memory. `loss` makes what
    is minimised of the model. `spread` says how the weights lie over the processes; None is whole in each.
    """

    name: str
    folder: Path
    rows: Rows
    schedule: Schedule
    peak: float
    past: StreamState
    key: str
    precision: torch.dtype
    seed: int = 0
    log_every: int = 10
    save_steps: int | None = None
    save_total_limit: int = 2
    compile: compiling.Asked = False
    checkpointed: bool = False
    skips: Spikes | None = None
    spread: Replicas | None = None
    loss: Callable[[PreTrainedModel], Loss] = PackedLoss

    def saves_after(self, step: int) -> bool:
        """Whether the state is saved after so many steps: at the end, and every `save_steps`."""
        return step == self.rows.steps or (self.save_steps is not None and step % self.save_steps == 0)
