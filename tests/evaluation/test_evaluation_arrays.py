"""A file of arrays is whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rewarm.evaluation.arrays import write_arrays
from rewarm.types import StorageError


def test_arrays_come_back(tmp_path: Path) -> None:
    write_arrays(tmp_path / "new" / "file.npz", {"one": np.arange(3), "two": np.array([np.nan, 2.5])})
    with np.load(tmp_path / "new" / "file.npz", allow_pickle=False) as held:
        assert held["one"].tolist() == [0, 1, 2]
        assert np.array_equal(held["two"], [np.nan, 2.5], equal_nan=True)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["file.npz"]


def test_a_full_disk_leaves_what_was_there(mount_disk: Callable[[int], Path]) -> None:
    file = mount_disk(1) / "file.npz"
    write_arrays(file, {"one": np.arange(3)})
    before = file.read_bytes()
    with pytest.raises(StorageError, match="make room and run the same command again"):
        write_arrays(file, {"one": np.zeros(1 << 20)})
    assert file.read_bytes() == before
    assert [left.name for left in file.parent.iterdir()] == ["file.npz"]
