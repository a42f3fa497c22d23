"""The journal survives a crash in the middle of a line, and a rerun leaves no double one."""

from __future__ import annotations

from pathlib import Path

from rewarm.training.journal import Journal, read


def test_entries_come_back_as_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "journal.jsonl", 0)
    entries = [{"step": 1, "loss": 1 / 3}, {"step": 2, "loss": 2e-300}]
    for entry in entries:
        journal.write(entry)
    journal.sync()
    assert read(journal.file) == entries
    assert read(tmp_path / "nothing.jsonl") == []


def test_a_resumed_leg_writes_over_what_it_makes_again(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file, 0)
    for step in (1, 2, 3, 5):
        journal.write({"step": step})
    again = Journal(file, 2)
    again.write({"step": 3})
    assert [entry["step"] for entry in read(file)] == [1, 2, 3]
    assert read(Journal(file, 0).file) == []


def test_a_line_cut_short_is_left_out_and_spoils_no_later_one(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file, 0).write({"step": 1})
    with file.open("ab") as opened:
        opened.write(b'{"step": 2, "lo')
    assert read(file) == [{"step": 1}]
    Journal(file, 1).write({"step": 2})
    assert read(file) == [{"step": 1}, {"step": 2}]
