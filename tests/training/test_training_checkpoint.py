"""A checkpoint exists only when it is whole; damage is seen; the last good one is never deleted."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from rewarm.training import checkpoint
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import StorageError, UserError

OPTIONS = AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0)


def trained(seed: int, width: int = 8) -> tuple[nn.Linear, Optimizer]:
    """A layer after one update."""
    torch.manual_seed(seed)
    layer = nn.Linear(width, width)
    optimizer = Optimizer(layer, OPTIONS)
    for parameter in layer.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step(0.01)
    return layer, optimizer


def test_round_trip_is_bit_equal_and_restores_random_numbers(tmp_path: Path) -> None:
    layer, optimizer = trained(1)
    folder = checkpoint.write(tmp_path, 7, layer, optimizer, "key", [0.1, 1 / 3])
    drawn = torch.rand(3)
    other, fresh = trained(2)
    assert checkpoint.restore(folder, other, fresh) == (7, [0.1, 1 / 3])
    assert torch.equal(layer.weight, other.weight)
    assert all(torch.equal(value, fresh.state()[name]) for name, value in optimizer.state().items())
    assert torch.equal(torch.rand(3), drawn)


def test_no_pickle_is_written(tmp_path: Path) -> None:
    folder = checkpoint.write(tmp_path, 1, *trained(1), "key")
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_newest_one_is_named_and_the_one_before_used(tmp_path: Path, damage: str) -> None:
    for step in (1, 2):
        checkpoint.write(tmp_path, step, *trained(step), "key")
    file = tmp_path / "checkpoint-2" / "weights.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-3] ^= 1
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:-5])
    else:
        file.unlink()
    notes: list[str] = []
    assert checkpoint.latest(tmp_path, "key", notes) == tmp_path / "checkpoint-1"
    assert len(notes) == 1
    assert "weights.safetensors damaged" in notes[0]


def test_without_its_marker_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, *trained(1), "key")
    (tmp_path / "checkpoint-1" / checkpoint.MARKER).unlink()
    assert checkpoint.steps_saved(tmp_path) == []
    assert checkpoint.latest(tmp_path, "key", []) is None


def test_another_key_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, *trained(1), "key of one plan")
    with pytest.raises(UserError, match="written by another plan or from other data"):
        checkpoint.latest(tmp_path, "key of another", [])


def test_pruning_keeps_the_newest_and_never_the_last_one_away(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.write(tmp_path, step, *trained(step), "key")
    (tmp_path / "partial-checkpoint-4").mkdir()
    checkpoint.prune(tmp_path, 2)
    assert checkpoint.steps_saved(tmp_path) == [2, 3]
    assert not (tmp_path / "partial-checkpoint-4").exists()
    checkpoint.prune(tmp_path, 0)
    assert checkpoint.steps_saved(tmp_path) == [3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system needs the right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_checkpoints_before_it_whole(small_disk: Path) -> None:
    model = trained(1, width=160)
    checkpoint.write(small_disk, 1, *model, "key")
    with pytest.raises(StorageError, match="make room and run the same command again"):
        for step in range(2, 9):
            checkpoint.write(small_disk, step, *model, "key")
    saved = checkpoint.steps_saved(small_disk)
    assert saved[0] == 1
    assert checkpoint.latest(small_disk, "key", []) == small_disk / f"checkpoint-{saved[-1]}"
    for step in saved[1:]:
        shutil.rmtree(small_disk / f"checkpoint-{step}")
    assert checkpoint.write(small_disk, 99, *model, "key").is_dir()


def test_an_error_of_the_system_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        checkpoint.write(tmp_path, 1, *trained(1), "key")
    assert list(tmp_path.iterdir()) == []
