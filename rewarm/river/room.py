"""Whether what is left of a run will fit on its disk: forecast from what its legs have taken so far."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewarm.quantities import size
from rewarm.storage import bytes_in, free_at
from rewarm.types import StorageError

if TYPE_CHECKING:
    from rewarm.river.directory import RunDirectory

_BASE = "base"  # the ledger's event, as in river/legs.py
_PLAN = "plan.resolved.json"


@dataclass(frozen=True, slots=True)
class Rest:
    """Bytes that a run has yet to write (`needed`), and bytes that are free where it lies."""

    needed: int
    free: int

    @property
    def is_short(self) -> bool:
        """Whether the run will not fit."""
        return self.needed > self.free

    def __str__(self) -> str:
        return f"the rest of the run needs about {size(self.needed)}, and {size(self.free)} are free"


def rest(main: RunDirectory) -> Rest | None:
    """What is left of a run and of its controls against the room there is; None before it has measured its base.

    Models: one for each leg to come, as large as the largest finished one (before there is one, 4 bytes per parameter).
    Checkpoints: those kept and the one being written, as large as the largest there is (before there is one, 12 bytes
    per parameter), less those that lie there.
    """
    begun, started, plan = main.recorded(_BASE), main.recorded("started"), main.root / _PLAN
    if begun is None or started is None or not plan.is_file():
        return None
    runs = {word: main.control(word) if word else main for word in started["steps"]}
    to_come, models, saved = [], [0], [0]
    for word, run in runs.items():
        finished = run.finished()
        models += [bytes_in(run.model(leg)) for leg in finished]
        to_come += [run.training(leg) for leg in started["steps"][word] if leg not in finished]
    for folder in to_come:
        saved += [bytes_in(one) for one in folder.glob("checkpoint-*")]
    kept = int(json.loads(plan.read_text(encoding="utf-8"))["save_total_limit"]) + 1
    each = max(saved) or 12 * begun["parameters"]
    model = max(models) or 4 * begun["parameters"]
    checkpoints = max(0, kept * each - sum(saved)) if to_come else 0
    return Rest(len(to_come) * model + checkpoints, free_at(main.root))


class Room:
    """Looks at a leg's start, and whenever asked, whether the run will fit; the ledger is told once, in a note."""

    def __init__(self, run: RunDirectory, leg: str) -> None:
        self.run = run
        self.leg = leg
        self.main = run.main()
        self.is_told = False
        self.look()

    def look(self) -> str:
        """What a progress line should add: nothing while the run fits."""
        found = rest(self.main)
        if found is None or not found.is_short:
            return ""
        if not self.is_told:
            self.is_told = True
            self.run.record(
                "note", leg=self.leg, text=f"disk at {self.main.root}: {found}. Make room before it is full"
            )
        return f", DISK SHORT: {found}"


def told(main: RunDirectory, error: StorageError) -> StorageError:
    """The error of a write with what is free and what the rest of the run needs."""
    try:
        found = rest(main)
    except (OSError, ValueError, LookupError):  # the disk is full, and what it holds may be anything
        found = None
    words = (
        f"what `rewarm check` says of the plan is needed, and {size(free_at(main.root))} are free"
        if found is None
        else str(found)
    )
    quota = ", of which your quota may leave less" if "quota" in str(error) else ""
    return StorageError(f"{error}. At '{main.root}' {words}{quota}")
