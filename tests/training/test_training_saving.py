"""A save costs the loop a copy only; the copy is what is written, one save after the other, and no error is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rewarm.training import checkpoint, memory
from rewarm.training.journal import Journal
from rewarm.training.keepers import Keepers
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.training.saving import Saver
from rewarm.types import StorageError

MountDisk = Callable[[int], Path]
OPTIONS = AdamWOptions(0.0, (0.9, 0.95), 1e-8, 1.0)


class HeldJournal(Journal):
    """A journal on a disk that answers when it is let go; what lay in the folder when each save began is in `seen`."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, 0)
        self.file.touch()
        self.go = threading.Event()
        self.seen: list[list[str]] = []

    def sync(self) -> None:
        self.seen.append(sorted(entry.name for entry in self.file.parent.glob("*checkpoint-*")))
        assert self.go.wait(60)
        super().sync()


@pytest.fixture
def journal(tmp_path: Path) -> HeldJournal:
    return HeldJournal(tmp_path / "leg" / "journal.jsonl")


def saver(journal: Journal, notes: list[str] | None = None, keep: int = 2) -> Saver:
    return Saver(journal.file.parent, "key", keep, journal, [] if notes is None else notes)


def trained(steps: int = 1, width: int = 4) -> tuple[nn.Linear, Optimizer]:
    """A layer after some updates."""
    torch.manual_seed(0)
    layer = nn.Linear(width, width)
    optimizer = Optimizer(layer, OPTIONS)
    for _ in range(steps):
        update(layer, optimizer)
    return layer, optimizer


def update(layer: nn.Linear, optimizer: Optimizer) -> None:
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.01)


def state(layer: nn.Linear, optimizer: Optimizer) -> checkpoint.State:
    return checkpoint.state_of(layer, optimizer, Keepers({}))


def assert_saved(folder: Path, step: int) -> None:
    """The checkpoint is that of a layer which made so many updates, and nothing in it is of a later one."""
    layer, optimizer = trained(step)
    other = nn.Linear(4, 4)
    fresh = Optimizer(other, OPTIONS)
    assert checkpoint.damage(folder / f"checkpoint-{step}") == []
    assert checkpoint.restore(folder / f"checkpoint-{step}", other, fresh, Keepers({})) == (step, [0.5])
    for wanted, found in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.equal(wanted, found)
    moments = fresh.state()
    assert len(moments) == 6  # step count and two moments of weight and bias
    assert all(torch.equal(value, moments[name]) for name, value in optimizer.state().items())


def test_training_goes_on_and_what_it_changes_is_not_saved(journal: HeldJournal) -> None:
    layer, optimizer = trained()
    with saver(journal) as saving:
        saving.save(1, state(layer, optimizer), [0.5])
        drawn = torch.rand(3)
        for _ in range(3):
            update(layer, optimizer)
            saving.check()
        assert checkpoint.steps_saved(saving.folder) == []
        journal.go.set()
        saving.wait()
        assert_saved(saving.folder, 1)
        assert torch.equal(torch.rand(3), drawn)  # restored to the instant of the save


def test_saves_come_one_after_the_other_from_the_same_buffers(journal: HeldJournal) -> None:
    """Each begins when the one before it lies whole, although the loop asks for them without a pause."""
    layer, optimizer = trained(0)
    journal.go.set()
    with saver(journal, keep=2) as saving:
        for step in (1, 2, 3):
            update(layer, optimizer)
            saving.save(step, state(layer, optimizer), [0.5])
        update(layer, optimizer)
    assert journal.seen == [[], ["checkpoint-1"], ["checkpoint-1", "checkpoint-2"]]
    assert checkpoint.steps_saved(saving.folder) == [2, 3]
    for step in (2, 3):
        assert_saved(saving.folder, step)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_whatever_ends_the_leg_the_save_under_way_is_finished(journal: HeldJournal, kind: type[BaseException]) -> None:
    threading.Timer(0.2, journal.go.set).start()

    def leg() -> None:
        with saver(journal) as saving:
            saving.save(1, state(*trained()), [0.5])
            raise kind

    with pytest.raises(kind) as raised:
        leg()
    assert_saved(journal.file.parent, 1)
    assert not hasattr(raised.value, "__notes__")


def blocked(journal: Journal) -> Path:
    """A file where the checkpoint's folder must come."""
    place = journal.file.parent / "partial-checkpoint-2"
    place.write_text("in the way")
    return place


def test_an_error_comes_with_the_next_step(journal: HeldJournal) -> None:
    blocked(journal)
    journal.go.set()
    with saver(journal) as saving:
        saving.save(2, state(*trained()), [])
        with pytest.raises(StorageError, match="checkpoint at step 2 could not be written"):
            steps(saving)


def steps(saving: Saver) -> None:
    """A minute of steps, after each of which the loop asks."""
    for _ in range(6000):
        time.sleep(0.01)
        saving.check()


def test_an_error_comes_with_the_next_save(journal: HeldJournal) -> None:
    place = blocked(journal)
    journal.go.set()
    with saver(journal) as saving:
        saving.save(2, state(*trained()), [])
        with pytest.raises(StorageError, match="make room and run the same command again"):
            saving.save(3, state(*trained()), [])
        place.unlink()
        saving.save(1, state(*trained()), [0.5])
    assert_saved(saving.folder, 1)


def test_an_error_comes_at_the_end(journal: HeldJournal) -> None:
    blocked(journal)
    journal.go.set()
    with pytest.raises(StorageError, match="checkpoint at step 2"), saver(journal) as saving:
        saving.save(2, state(*trained()), [])


def test_an_error_beside_another_one_is_its_note(journal: HeldJournal) -> None:
    blocked(journal)

    def leg() -> None:
        with saver(journal) as saving:
            saving.save(2, state(*trained()), [])
            journal.go.set()
            raise ArithmeticError("the loss is no number")

    with pytest.raises(ArithmeticError, match="the loss is no number") as raised:
        leg()
    assert [note.split(" to ")[0] for note in raised.value.__notes__] == ["checkpoint at step 2 could not be written"]


def test_a_disk_that_fills_up_leaves_the_saves_before_whole(mount_disk: MountDisk) -> None:
    """1 MiB, and 312 kB for each save: the third or fourth finds no room."""
    folder = mount_disk(1)
    journal = HeldJournal(folder / "journal.jsonl")
    journal.go.set()
    layer, optimizer = trained(width=160)

    def leg() -> None:
        with saver(journal, keep=9) as saving:
            for step in range(1, 9):
                saving.save(step, state(layer, optimizer), [])

    with pytest.raises(StorageError, match=r"No space left for the checkpoint at step .* it needs 3"):
        leg()
    saved = checkpoint.steps_saved(folder)
    assert saved in ([1, 2], [1, 2, 3])
    assert checkpoint.latest(folder, "key", []) == folder / f"checkpoint-{saved[-1]}"


def test_without_room_for_a_copy_the_loop_waits_for_the_disk(
    journal: HeldJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of 5,300 bytes or so, of which the random state is 5,056: twice that is not there, then it is."""
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    journal.go.set()
    notes: list[str] = []
    layer, optimizer = trained()
    with saver(journal, notes) as saving:
        saving.save(1, state(layer, optimizer), [0.5])
        assert_saved(saving.folder, 1)
        saving.save(2, state(layer, optimizer), [0.5])
        assert checkpoint.steps_saved(saving.folder) == [1, 2]
        assert len(notes) == 1
        assert notes[0].startswith("10 kB of memory are available, too few for a copy of 5.3")
        monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=20_000))
        journal.go.clear()
        saving.save(3, state(layer, optimizer), [0.5])
        assert checkpoint.steps_saved(saving.folder) == [1, 2]
        journal.go.set()
    assert checkpoint.steps_saved(saving.folder) == [2, 3]
