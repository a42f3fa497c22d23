"""Files that appear under their names only when whole, and what a full disk says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from rewarm.types import StorageError


@contextlib.contextmanager
def stored(what: str) -> Iterator[None]:
    """Turns an error of the file system into a StorageError that says what could not be written."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"could not write {what}: {error}. Make room or choose another folder; nothing broke"
        ) from error


@contextlib.contextmanager
def replaced(file: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to, which takes the name `file` when the block ends well; packed if that ends in .zst.

    StorageError when it cannot be written; what had the name before is then still there.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        with stored(f"'{file}'"):
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as plain, _packed(plain, file.suffix == ".zst") as writer:
                yield writer
            os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _packed(plain: BinaryIO, packed: bool) -> Iterator[BinaryIO]:
    if not packed:
        yield plain
        return
    with zstandard.ZstdCompressor(level=3).stream_writer(plain, closefd=False) as writer:
        yield writer
