"""A checkpoint exists only when it is whole; damage is seen; the last good one is never deleted."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from rewarm.training import checkpoint
from rewarm.training.keepers import Keepers
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import StorageError, UserError

MountDisk = Callable[[int], Path]
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


def write(
    folder: Path, step: int, layer: nn.Linear, optimizer: Optimizer, key: str, pending: Sequence[float] = ()
) -> Path:
    """The checkpoint of a layer, written at once."""
    return checkpoint.write(folder, step, checkpoint.state_of(layer, optimizer, Keepers({})), key, pending)


def test_round_trip_is_bit_equal_and_restores_random_numbers(tmp_path: Path) -> None:
    layer, optimizer = trained(1)
    folder = write(tmp_path, 7, layer, optimizer, "key", [0.1, 1 / 3])
    drawn = torch.rand(3)
    other, fresh = trained(2)
    assert checkpoint.restore(folder, other, fresh, Keepers({})) == (7, [0.1, 1 / 3])
    assert torch.equal(layer.weight, other.weight)
    assert all(torch.equal(value, fresh.state()[name]) for name, value in optimizer.state().items())
    assert torch.equal(torch.rand(3), drawn)


def test_no_pickle_is_written(tmp_path: Path) -> None:
    folder = write(tmp_path, 1, *trained(1), "key")
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}


def damaged(file: Path, damage: str) -> None:
    """Flips a bit, cuts the end off, or removes the file."""
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-3] ^= 1
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:-5])
    else:
        file.unlink()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "random.safetensors"])
def test_a_damaged_newest_one_is_named_and_the_one_before_used(tmp_path: Path, name: str, damage: str) -> None:
    for step in (1, 2):
        write(tmp_path, step, *trained(step), "key")
    damaged(tmp_path / "checkpoint-2" / name, damage)
    notes: list[str] = []
    assert checkpoint.latest(tmp_path, "key", notes) == tmp_path / "checkpoint-1"
    assert notes == [f"{tmp_path / 'checkpoint-2'}: {name} damaged; passed over"]


@pytest.mark.parametrize("text", [None, "", "[1]", "cut", "key", "step", "\xff"])
def test_a_damaged_marker_is_seen_too(tmp_path: Path, text: str | None) -> None:
    """Of what it holds nothing may be believed: neither the key, which would refuse the run, nor the step."""
    for step in (1, 2):
        write(tmp_path, step, *trained(step), "key of the plan")
    marker = tmp_path / "checkpoint-2" / checkpoint.MARKER
    whole = marker.read_bytes()
    changes = {
        None: whole.replace(b'"own"', b'"owm"'),
        "cut": whole[:-9],
        "key": whole.replace(b"key of", b"kez of"),
        "step": whole.replace(b'"step": 2', b'"step": 3'),
        "\xff": b"\xff" + whole,
    }
    marker.write_bytes(changes.get(text, (text or "").encode()))
    assert marker.read_bytes() != whole
    notes: list[str] = []
    assert checkpoint.latest(tmp_path, "key of the plan", notes) == tmp_path / "checkpoint-1"
    assert "complete.json damaged" in notes[0]


def test_when_all_are_damaged_the_leg_begins_again(tmp_path: Path) -> None:
    for step in (1, 2):
        write(tmp_path, step, *trained(step), "key")
        damaged(tmp_path / f"checkpoint-{step}" / "weights.safetensors", "cut")
    notes: list[str] = []
    assert checkpoint.latest(tmp_path, "key", notes) is None
    assert len(notes) == 2


def test_without_its_marker_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, 1, *trained(1), "key")
    (tmp_path / "checkpoint-1" / checkpoint.MARKER).unlink()
    assert checkpoint.steps_saved(tmp_path) == []
    assert checkpoint.latest(tmp_path, "key", []) is None


def test_another_key_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1, *trained(1), "key of one plan")
    with pytest.raises(UserError, match="written by another plan or from other data"):
        checkpoint.latest(tmp_path, "key of another", [])


def test_the_key_of_a_damaged_one_does_not_refuse(tmp_path: Path) -> None:
    write(tmp_path, 1, *trained(1), "key of one plan")
    write(tmp_path, 2, *trained(2), "key of another")
    damaged(tmp_path / "checkpoint-2" / "weights.safetensors", "flip")
    assert checkpoint.latest(tmp_path, "key of one plan", []) == tmp_path / "checkpoint-1"


def test_another_model_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 1, *trained(1), "key")
    with pytest.raises(UserError, match=r"holds another model: .'bias'. differ"):
        checkpoint.load_weights(folder, nn.Linear(8, 8, bias=False))


def test_other_names_are_no_checkpoints(tmp_path: Path) -> None:
    for name in ("checkpoint-", "checkpoint-x", "checkpoint-3.old", "4", "partial-checkpoint-5"):
        (tmp_path / name).mkdir()
        (tmp_path / name / checkpoint.MARKER).write_text("{}")
    assert checkpoint.steps_saved(tmp_path) == []
    assert checkpoint.steps_saved(tmp_path / "nowhere") == []


def test_pruning_keeps_the_newest_and_never_the_last_one_away(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        write(tmp_path, step, *trained(step), "key")
    (tmp_path / "partial-checkpoint-4").mkdir()
    checkpoint.prune(tmp_path, 2, 10)
    assert checkpoint.steps_saved(tmp_path) == [2, 10]
    assert not (tmp_path / "partial-checkpoint-4").exists()
    checkpoint.prune(tmp_path, 0, 10)
    assert checkpoint.steps_saved(tmp_path) == [10]


def test_damaged_ones_that_were_passed_over_push_no_good_one_out(tmp_path: Path) -> None:
    """Resumed from step 2 because 3 and 4 are damaged: what is written then is older than they are."""
    for step in (1, 2, 3, 4):
        write(tmp_path, step, *trained(step), "key")
    checkpoint.prune(tmp_path, 2, 2)
    assert checkpoint.steps_saved(tmp_path) == [1, 2]


def test_clearing_leaves_nothing_but_the_journal(tmp_path: Path) -> None:
    write(tmp_path, 1, *trained(1), "key")
    (tmp_path / "partial-checkpoint-2").mkdir()
    (tmp_path / "journal.jsonl").touch()
    checkpoint.clear(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["journal.jsonl"]


@pytest.mark.parametrize(("policy", "first"), [("keep", 1.0), ("keep-second-moment", 0.0)])
def test_state_is_inherited_bit_for_bit(tmp_path: Path, policy: str, first: float) -> None:
    layer, optimizer = trained(1)
    folder = write(tmp_path, 1, layer, optimizer, "key")
    saved = optimizer.state()
    fresh = Optimizer(nn.Linear(8, 8), OPTIONS)
    checkpoint.inherit(folder, fresh, policy)  # type: ignore[arg-type]
    state = fresh.state()
    for name in ("weight", "bias"):
        assert torch.equal(state[f"exp_avg.{name}"], first * saved[f"exp_avg.{name}"])
        assert torch.equal(state[f"exp_avg_sq.{name}"], saved[f"exp_avg_sq.{name}"])
        assert float(state[f"step.{name}"]) == 1


def test_state_that_is_gone_or_damaged_is_no_reset(tmp_path: Path) -> None:
    fresh = Optimizer(nn.Linear(8, 8), OPTIONS)
    with pytest.raises(UserError, match=r"keep needs .*damaged or gone \(all of it\)"):
        checkpoint.inherit(tmp_path / "checkpoint-1", fresh, "keep")
    folder = write(tmp_path, 1, *trained(1), "key")
    damaged(folder / "optimizer.safetensors", "flip")
    with pytest.raises(UserError, match=r"keep-second-moment needs .*\(optimizer.safetensors\)"):
        checkpoint.inherit(folder, fresh, "keep-second-moment")
    checkpoint.inherit(folder, fresh, "reset")
    assert fresh.state() == {}


@pytest.fixture
def small_disk(mount_disk: MountDisk) -> Path:
    """A file system of 1 MiB."""
    return mount_disk(1)


def test_a_full_disk_leaves_the_checkpoints_before_it_whole(small_disk: Path) -> None:
    model = trained(1, width=160)
    write(small_disk, 1, *model, "key")
    with pytest.raises(StorageError, match="make room and run the same command again"):
        [write(small_disk, step, *model, "key") for step in range(2, 9)]
    saved = checkpoint.steps_saved(small_disk)
    assert saved[0] == 1
    assert checkpoint.latest(small_disk, "key", []) == small_disk / f"checkpoint-{saved[-1]}"
    for step in saved[1:]:
        shutil.rmtree(small_disk / f"checkpoint-{step}")
    assert write(small_disk, 99, *model, "key").is_dir()


def test_an_error_of_the_system_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        write(tmp_path, 1, *trained(1), "key")
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_cannot_be_written_are_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checkpoint.write_tensors(tmp_path / "folder" / "a.safetensors", {"one": torch.ones(2)})
    assert [entry.name for entry in (tmp_path / "folder").iterdir()] == ["a.safetensors"]
    with pytest.raises(StorageError, match=r"a\.safetensors' was not written"):
        checkpoint.write_tensors(tmp_path / "file" / "a.safetensors", {"one": torch.ones(2)})
