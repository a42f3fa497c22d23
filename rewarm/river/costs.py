"""What a plan needs of the machine: disk and memory. Every formula is simple on purpose and stated where it is used."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rewarm.plan import Plan, Scratch
from rewarm.quantities import size
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import LegPlan
from rewarm.river.sampling import CorpusForecast
from rewarm.storage import bytes_in, existing
from rewarm.training import activations, divided
from rewarm.training.memory import memory_available
from rewarm.training.saving import ROOM
from rewarm.training.world import current
from rewarm.types import UserError

LIBRARY_BYTES = 600_000_000
"""What the process holds before the first weight, measured."""


@dataclass(frozen=True, slots=True)
class Work:
    """A plan with what is known of it before it runs: corpora, legs by run ("" is the main one), the model's shape."""

    plan: Plan
    run: RunDirectory
    corpora: Sequence[CorpusForecast]
    planned: Sequence[tuple[str, Sequence[LegPlan]]]
    model: PreTrainedModel

    @property
    def parameters(self) -> int:
        """Parameters of the model, tied ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def passes(self) -> activations.Passes:
        """How this machine would make the passes of training."""
        return self.spread[1]

    @property
    def spread(self) -> tuple[bool, activations.Passes]:
        """Whether the weights would be divided among the plan's processes, and how the passes would be made."""
        libraries = 0 if torch.cuda.is_available() else LIBRARY_BYTES
        room = activations.room_for(self.model) // (1 if torch.cuda.is_available() else self.processes) - libraries
        return divided.spread(self.plan, self.model, room, self.processes)

    @property
    def processes(self) -> int:
        """How many processes train: those there are, or those that the plan is for."""
        return self.plan.processes or 1 if current().is_alone else current().size


@dataclass(frozen=True, slots=True)
class Need:
    """So many bytes of something are needed and so many are there. `parts` add up to `needed`, of which `preparing`
    are needed before anything is trained."""

    what: str
    needed: int
    available: int
    word: str
    parts: dict[str, int]
    remedy: str
    preparing: int = 0

    def fault(self) -> str | None:
        """What is missing and what to do about it; None when there is enough."""
        if self.needed <= self.available:
            return None
        return (
            f"{self.what}: the run needs about {size(self.needed)} and {size(self.available)} are {self.word}. "
            f"{self.remedy}."
        )


def faults(needs: Sequence[Need]) -> list[str]:
    """Why the needs cannot be met on this machine, one sentence for each that is not."""
    return [fault for need in needs if (fault := need.fault()) is not None]


def refuse(needs: Sequence[Need]) -> None:
    """UserError when a need cannot be met."""
    if found := faults(needs):
        raise UserError("\n".join(found))


def disk(work: Work) -> list[Need]:
    """Disk that the run has yet to fill, for each file system it writes to.

    Tokens: those of corpora that are not prepared. Shards: while a corpus is prepared its tokens lie there twice; they
    go before anything is trained, so only what they take beyond the rest is counted. Models: 4 bytes per parameter for
    each leg. Checkpoints: 12 bytes per parameter (weights and two moments) for each one kept and one being written; a
    leg that hands its optimizer state on keeps its own. What the run's folder holds already is taken off.
    """
    plan, run, parameters = work.plan, work.run, work.parameters
    legs = [(leg, found) for _, found in work.planned for leg in found]
    handed_on = sum(any(later.start == leg.name and later.policy != "reset" for later in found) for leg, found in legs)
    written = {
        "models": 4 * parameters * (len(legs) + isinstance(plan.base, Scratch)),
        "checkpoints": 12 * parameters * (plan.save_total_limit + 1 + handed_on * plan.save_total_limit),
    }
    there = bytes_in(run.root, without=run.prepared)
    for name, count in written.items():
        written[name], there = max(0, count - there), max(0, there - count)
    tokens = {"tokens": sum(corpus.store_bytes for corpus in work.corpora)}
    shards = max((corpus.store_bytes for corpus in work.corpora), default=0)
    remedy = "Make room, lower save_total_limit, leave out controls, or put output_dir elsewhere"
    root, prepared = existing(run.root), existing(run.prepared)
    if root.stat().st_dev == prepared.stat().st_dev:
        parts = tokens | {"shards": max(0, shards - sum(written.values()))} | written
        return [_disk_need(root, parts, remedy, tokens["tokens"] + shards)]
    tokens["shards"] = shards
    elsewhere = _disk_need(prepared, tokens, "Put prepared_dir elsewhere", sum(tokens.values()))
    return [_disk_need(root, written, remedy), elsewhere]


def _disk_need(folder: Path, parts: dict[str, int], remedy: str, preparing: int = 0) -> Need:
    free = shutil.disk_usage(folder).free
    return Need(f"disk at {folder}", sum(parts.values()), free, "free", parts, remedy, preparing)


def memory(work: Work) -> Need:
    """Memory of the device that trains: what its passes need (`activations.needed`), in the smallest way if need be.

    Copy to save from: 12 bytes per parameter of the host's memory, or of each process's part where weights are divided,
    only where there is room: a run does without it, so it never makes a run too large.
    """
    is_divided, passes = work.spread
    if is_divided:
        parts = divided.divided(work.plan, work.model, passes, work.processes)
    else:
        parts = activations.needed(work.plan, work.model, passes)
    remedy = "Lower micro_batch_tokens or seq_len, or take a smaller base"
    each = "" if work.processes == 1 else f" of each of {work.processes} processes"
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return Need(f"GPU memory{each}", sum(parts.values()), int(free), "free", parts, remedy)
    parts["libraries"] = LIBRARY_BYTES
    available = memory_available() // work.processes
    copy = divided.copied(work.parameters, work.processes if is_divided else 1)
    if sum(parts.values()) + ROOM * copy <= available:
        parts["copy to save from"] = copy
    return Need(f"memory{each}", sum(parts.values()), available, "available", parts, remedy)
