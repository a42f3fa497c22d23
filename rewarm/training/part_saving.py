"""Saves a leg whose weights lie in parts: each process writes its own part, and the first one then gives the checkpoint
its marker and its name.

As with one process (saving.py) the loop waits for a copy of its own part only, and a thread writes it. The threads tell
each other through the store whose part is on disk, with which digests, and what an error was; nothing is gathered. A
save that fails in one process fails in all of them, at the same step. Random numbers and what else is the same in all
processes are the first one's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from rewarm.storage import sync_folder
from rewarm.training import checkpoint, parts
from rewarm.training.checkpoint import State
from rewarm.training.saving import Saver
from rewarm.training.world import LOOK, REASON_SECONDS, Ended, World, is_broken
from rewarm.types import StorageError

FirstRow = Callable[[str, str, Tensor], int | None]
"""Kind, name and what this process holds of it -> with which row of the whole that begins; None where it is whole."""


class PartSaver(Saver):
    """The checkpoints of a leg of which each process holds parts: every method is called by all of them at once."""

    def __init__(self, world: World, first_row: FirstRow, *given: Any) -> None:
        super().__init__(*given)
        self.world, self.first_row = world, first_row
        self._round = ""
        self._deadline: float | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and is_broken(error):  # a process that is gone will write nothing more
            self._deadline = time.monotonic() + REASON_SECONDS
        super().__exit__(kind, error, trace)

    def save(self, step: int, state: State, pending: list[float], following: str | None = None) -> None:
        """Begins to save the (live) state; see `Saver.save`."""
        self.wait()
        self._round = self.world.exchange()
        super().save(step, state, pending, following)

    def check(self) -> None:
        """Raises the error of a write that has ended, in all processes after the same step."""
        if self._writing is not None and self.world.total_of(float(self._writing.done())) == self.world.size:
            self.wait()

    def _fits(self, state: State) -> bool:
        # All write from copies or none does: they are in the same step when they hear how the write went.
        return not self.world.any(not super()._fits(state))

    def _begin(self, step: int, needed: int) -> None:
        # What all need together: they write to one disk.
        every = round(self.world.total_of(needed))
        failure = self.world.agreed(lambda: self._begun(step, every))
        if failure:
            raise StorageError(failure)

    def _begun(self, step: int, needed: int) -> str:
        """Makes the folder to write to; what was wrong with that, if anything."""
        try:
            super()._begin(step, needed)
            with checkpoint.explained(self.folder, step):
                checkpoint.begin(self.folder, step)
        except StorageError as error:
            return str(error)
        return ""

    def _write(
        self, step: int, state: State, pending: list[float], following: str | None, made: torch.cuda.Event | None
    ) -> None:
        if made is not None:
            made.synchronize()
        try:
            self.world.post(f"{self._round}/{self.world.rank}", self._own(step, state))
            if self.world.is_first:
                told = {"step": step, "key": self.key, "pending": pending, "following": following}
                failure = self._finished(told)
                self.world.post(f"{self._round}/done", {"failure": failure})
            else:
                failure = self._posted("done")["failure"]
        except Ended:
            failure = self._gone(step)
        if failure:
            raise StorageError(failure)
        if self.world.is_first:
            checkpoint.prune(self.folder, self.keep, step)

    def _own(self, step: int, state: State) -> dict[str, Any]:
        """Writes this process's files; their digests, or what was wrong."""
        partial = checkpoint.partial_of(self.folder, step)
        digests: dict[str, str] = {}
        try:
            with checkpoint.explained(self.folder, step, clear=False):
                if self.world.is_first:
                    self.journal.sync()
                for kind, tensors in state.items():
                    rows = {name: self.first_row(kind, name, value) for name, value in tensors.items()}
                    held = {name: value for name, value in tensors.items() if self._writes(value, rows[name])}
                    if held:
                        name = parts.name_of(kind, self.world.rank, self.world.size)
                        digests[name] = parts.save(partial / name, held, {one: rows[one] or 0 for one in held})
                sync_folder(partial)
        except (OSError, RuntimeError, ValueError, MemoryError) as error:  # the others wait for word
            return {"failure": str(error) or type(error).__name__}
        return {"sha256": digests}

    def _writes(self, value: Tensor, first_row: int | None) -> bool:
        """Whether this process writes a tensor: its own rows, if it has any; what all have alike is the first one's."""
        return self.world.is_first if first_row is None else len(value) > 0

    def _finished(self, told: dict[str, Any]) -> str:
        """Waits for the parts of all and makes them a checkpoint; what was wrong, if anything."""
        step = told["step"]
        digests: dict[str, str] = {}
        try:
            found = [self._posted(str(rank)) for rank in range(self.world.size)]
        except Ended:
            return self._gone(step)  # others may still write: what is there stays, and is never used
        for rank, one in enumerate(found):
            if "failure" in one:
                shutil.rmtree(checkpoint.partial_of(self.folder, step), ignore_errors=True)
                return str(one["failure"]) if rank == 0 else f"process {rank} of {self.world.size}: {one['failure']}"
            digests |= one["sha256"]
        try:
            with checkpoint.explained(self.folder, step):
                checkpoint.finish(self.folder, told, digests)
        except StorageError as error:
            return str(error)
        return ""

    def _posted(self, word: str) -> dict[str, Any]:
        """What another process says; Ended where it says nothing because one is gone."""
        while (found := self.world.posted(f"{self._round}/{word}")) is None:
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise Ended(1)
            time.sleep(LOOK)
        return found

    def _gone(self, step: int) -> str:
        return (
            f"checkpoint at step {step} was not finished in '{self.folder}', because another process is gone. The "
            "checkpoints before it are whole"
        )
