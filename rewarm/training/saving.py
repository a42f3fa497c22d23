"""Saves a leg while it goes on training: the loop waits for a copy in memory only, and a thread writes that copy.

The copy takes as much memory of the host as a checkpoint takes on disk (12 bytes per parameter in fp32: weight and two
moments), from the leg's first save to its end. Its buffers are kept from save to save, because freshly mapped memory
costs a page fault per 4 KiB. At most one save is under way: the next one waits for it, so two never interleave.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from rewarm.quantities import size
from rewarm.training import checkpoint, room
from rewarm.training.checkpoint import State
from rewarm.training.journal import Journal
from rewarm.training.memory import memory_available

ROOM = 2
"""The copy is made only where so many times its size are available; otherwise the loop waits for the disk."""


class Saver:
    """The checkpoints of one leg in `folder`, of which the last `keep` stay; a context that ends when all is on disk.

    An error of a write is raised by the next `check`, `save` or `wait`, or when the context ends. A context that ends
    by another error keeps that one, with the write's error as a note.
    """

    def __init__(self, folder: Path, key: str, keep: int, journal: Journal, notes: list[str]) -> None:
        self.folder = folder
        self.key = key
        self.keep = keep
        self.journal = journal
        self.notes = notes
        self._copies: dict[tuple[str, str], Tensor] = {}
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._is_told = False

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except OSError as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            self._thread.shutdown()

    def save(self, step: int, state: State, pending: list[float], following: str | None = None) -> None:
        """Begins to save the (live) state after `step` steps, with the losses not yet in the journal and the
        fingerprint of the batch to come.

        Comes back when the state is copied, or, where memory is too short for a copy, when it is on disk. StorageError,
        before anything is written, when the disk has no room for it.
        """
        self.wait()
        self._begin(step, _bytes(state))
        if not self._fits(state):
            self._write(step, state, pending, following, None)
            return
        copied = self._copied(state)
        # The device goes on, too: it makes the copies before the next update, and the thread waits for them.
        made = torch.cuda.Event() if torch.cuda.is_available() else None
        if made is not None:
            made.record()
        self._writing = self._thread.submit(self._write, step, copied, pending, following, made)

    def _begin(self, step: int, needed: int) -> None:
        """Makes sure that so many bytes can be written; StorageError when the disk has no room for them."""
        checkpoint.clear_partials(self.folder)
        room.check(self.folder, f"the checkpoint at step {step}", needed)

    def check(self) -> None:
        """Raises the error of a write that has ended; costs nothing, so that a loop can ask after each step."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Comes back when all that was saved is on disk; raises the error of a write that failed."""
        if self._writing is None:
            return
        # An interruption here must leave the write to be asked again.
        wait([self._writing])
        written, self._writing = self._writing, None
        written.result()

    def _write(
        self, step: int, state: State, pending: list[float], following: str | None, made: torch.cuda.Event | None
    ) -> None:
        if made is not None:
            made.synchronize()
        self.journal.sync()
        checkpoint.write(self.folder, step, state, self.key, pending, following)
        checkpoint.prune(self.folder, self.keep, step)

    def _copied(self, state: State) -> State:
        return {
            file: {name: self._copy(file, name, tensor) for name, tensor in tensors.items()}
            for file, tensors in state.items()
        }

    def _copy(self, file: str, name: str, source: Tensor) -> Tensor:
        copy = self._copies.get((file, name))
        if copy is None:
            copy = torch.empty(source.shape, dtype=source.dtype, pin_memory=source.is_cuda)
            self._copies[file, name] = copy
        return copy.copy_(source, non_blocking=True)

    def _fits(self, state: State) -> bool:
        """Whether there is room for the copy; where there is not, a note says what that costs."""
        missing = _bytes(state) - sum(copy.nbytes for copy in self._copies.values())
        if missing <= 0 or (available := memory_available()) >= ROOM * missing:
            return True
        if not self._is_told:
            self._is_told = True
            self.notes.append(
                f"{size(available)} of memory are available, too few for a copy of {size(_bytes(state))} to save from: "
                "training waits while a checkpoint is written"
            )
        return False


def _bytes(state: State) -> int:
    return sum(tensor.nbytes for tensors in state.values() for tensor in tensors.values())
