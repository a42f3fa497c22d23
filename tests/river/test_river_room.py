"""Room on the disk: what is left of a run is forecast while it trains, and a save that cannot fit is not begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm import storage
from rewarm.plan import from_values
from rewarm.river import room
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.training import checkpoint
from rewarm.training import room as training_room
from rewarm.types import Stopped, StorageError

ScratchPlan = Callable[..., dict[str, Any]]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What is free on every disk, as long as `bytes` is in it."""
    told: dict[str, int] = {}
    original = training_room.free_at

    def look(path: Path) -> int:
        return told.get("bytes", original(path))

    for module in (room, training_room):
        monkeypatch.setattr(module, "free_at", look)
    return told


def stopped_after_a_save(values: dict[str, Any], free: dict[str, int] | None = None) -> tuple[RunDirectory, list[str]]:
    """A run that was stopped when its first checkpoint was there, and the units of its progress."""
    plan, units = from_values(values), list[str]()
    directory = RunDirectory.of(plan)
    hooks = Hooks(
        tell=lambda label, done, total, unit: units.append(unit),
        stop=lambda: any(directory.root.glob("training/*/checkpoint-*/complete.json")),
    )
    with pytest.raises(Stopped):
        run(plan, hooks)
    return directory, units


def test_what_is_left_is_models_and_checkpoints(scratch_plan: ScratchPlan) -> None:
    directory, _ = stopped_after_a_save(scratch_plan(controls=["new-only"], save_steps=2, save_total_limit=3))
    begun = directory.recorded("base")
    assert begun is not None
    saved = list(directory.root.glob("training/stage-1-update/checkpoint-*"))
    each = max(sum(file.stat().st_size for file in one.iterdir()) for one in saved)
    there = sum(file.stat().st_size for one in saved for file in one.iterdir())
    found = room.rest(directory)
    assert found is not None
    # Two legs to come, and three checkpoints kept beside the one being written, some of which are there.
    assert found.needed == 2 * 4 * begun["parameters"] + 4 * each - there
    assert not found.is_short
    assert run(from_values(directory.resolved().resolved())).complete
    done = room.rest(directory)
    assert done is not None
    assert done.needed == 0


def test_before_the_base_is_measured_nothing_is_known(tmp_path: Path) -> None:
    assert room.rest(RunDirectory(tmp_path)) is None
    told = str(room.told(RunDirectory(tmp_path), StorageError("full")))
    assert told.startswith(f"full. At '{tmp_path}' ")
    assert "what `rewarm check` says of the plan is needed, and " in told
    full = StorageError("'a' was not written (Disk quota exceeded)")
    assert str(room.told(RunDirectory(tmp_path), full)).endswith(" are free, of which your quota may leave less")


def test_a_disk_too_small_for_the_rest_is_told_once(scratch_plan: ScratchPlan, free: dict[str, int]) -> None:
    free["bytes"] = 1_000_000  # for a checkpoint of 0.3 MB, and not for four of them
    directory, units = stopped_after_a_save(scratch_plan(save_steps=2, save_total_limit=9))
    notes = [entry["text"] for entry in directory.ledger() if entry["event"] == "note"]
    assert [note for note in notes if note.startswith("disk at")] == [
        note for note in notes if "the rest of the run needs about" in note and "and 1 MB are free" in note
    ]
    assert sum(note.startswith("disk at") for note in notes) == 1
    assert any("DISK SHORT: the rest of the run needs about" in unit for unit in units)


def test_a_save_without_room_is_not_begun(scratch_plan: ScratchPlan, free: dict[str, int]) -> None:
    values = scratch_plan(save_steps=2)
    directory, _ = stopped_after_a_save(values)
    folder = directory.training("stage-1-update")
    leftover = folder / "partial-checkpoint-1"
    leftover.mkdir()
    before = checkpoint.steps_saved(folder)
    free["bytes"] = 100_000
    with pytest.raises(StorageError) as raised:
        run(from_values(values))
    told = str(raised.value)
    assert "No space left for the checkpoint at step" in told
    assert "and 100 kB are free at" in told
    assert "the rest of the run needs about" in told
    assert checkpoint.steps_saved(folder) == before
    assert [one.name for one in folder.glob("partial-*")] == []  # of a killed process: its room is needed
    free.clear()
    assert run(from_values(values)).complete


def test_files_that_go_while_they_are_counted_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").write_bytes(bytes(10))
    # One of them still was there when they were listed.
    monkeypatch.setattr(storage.os, "walk", lambda folder: iter([(str(folder), [], ["gone", "here"])]))
    assert storage.bytes_in(tmp_path) == 10


def test_scores_of_a_leg_that_trains_go_when_it_has_finished(scratch_plan: ScratchPlan) -> None:
    values = scratch_plan(eval_every=512)
    root = Path(values["output_dir"])
    seen: set[str] = set()

    def tell(label: str, done: float, total: float | None, unit: str) -> None:
        seen.update(folder.name for folder in root.glob("evaluations/during/*"))

    assert run(from_values(values), Hooks(tell=tell)).complete
    assert seen
    assert list(root.glob("evaluations/during/*")) == []
