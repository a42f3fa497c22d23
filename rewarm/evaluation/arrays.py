"""Arrays in one file that appears only when complete."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.types import StorageError


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an .npz of named arrays (numbers only) in place of `file`; StorageError when the disk refuses."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")  # runs that share a folder may write at once
    named: dict[str, Any] = dict(arrays)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as opened:
            np.savez(opened, **named)
            opened.flush()
            os.fsync(opened.fileno())
        partial.replace(file)
    except OSError as error:
        raise StorageError(
            f"'{file}' was not written ({error.strerror}). Everything saved before is whole: make room and run the "
            "same command again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
