"""Room on a disk for what is about to be written, looked at before the first byte of it is."""

from __future__ import annotations

from pathlib import Path

from rewarm.quantities import size
from rewarm.storage import free_at
from rewarm.types import StorageError

SPARE = 65_536
"""Bytes beyond the tensors of a checkpoint: headers, markers, folders."""


def check(folder: Path, what: str, needed: int) -> None:
    """StorageError, with the room that is needed and that there is, when so many bytes will not fit into a folder."""
    needed, free = SPARE + needed, free_at(folder)
    if needed > free:
        raise StorageError(
            f"No space left for {what}: it needs {size(needed)}, and {size(free)} are free at '{folder}'. Nothing of "
            "it was written, and everything saved before is whole: make room and run the same command again"
        )
