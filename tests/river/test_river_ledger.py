"""The ledger's chain: whatever is done to a line is found, and ledgers of before there was one go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rewarm.river.directory import RunDirectory
from rewarm.river.ledger import Ledger
from rewarm.types import UserError


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger of four events."""
    made = Ledger(tmp_path / "ledger.jsonl")
    for number in range(4):
        made.append("event", {"number": number, "text": 'a "quoted" word'})
    return made


def lines(ledger: Ledger) -> list[bytes]:
    return ledger.file.read_bytes().splitlines(keepends=True)


def test_entries_are_what_was_recorded(ledger: Ledger) -> None:
    entries = ledger.entries()
    assert [entry["number"] for entry in entries] == [0, 1, 2, 3]
    assert all(entry.keys() == {"at", "event", "number", "text"} for entry in entries)
    chain = ledger.chain()
    assert (chain.lines, chain.unchained, chain.faults) == (4, 0, [])


def altered(held: list[bytes]) -> list[bytes]:
    return [held[0], held[1].replace(b'"number": 1', b'"number": 7'), *held[2:]]


def removed(held: list[bytes]) -> list[bytes]:
    return [held[0], *held[2:]]


def first_removed(held: list[bytes]) -> list[bytes]:
    return held[1:]


def inserted(held: list[bytes]) -> list[bytes]:
    return [*held[:2], b'{"at": "2026-01-01", "event": "event", "number": 9}\n', *held[2:]]


def doubled(held: list[bytes]) -> list[bytes]:
    return [*held[:2], held[1], *held[2:]]


def last_altered(held: list[bytes]) -> list[bytes]:
    return [*held[:3], held[3].replace(b'"number": 3', b'"number": 8')]


@pytest.mark.parametrize(
    ("change", "places"),
    [
        (altered, [2, 3]),  # the line itself, and the one that was written after it
        (removed, [2]),
        (first_removed, [1]),
        (inserted, [3, 4]),
        (doubled, [3]),
        (last_altered, [4]),
    ],
)
def test_a_change_is_found_and_its_line_named(
    ledger: Ledger, change: Callable[[list[bytes]], list[bytes]], places: list[int]
) -> None:
    ledger.file.write_bytes(b"".join(change(lines(ledger))))
    assert [line for line, _ in ledger.chain().faults] == places


def test_a_changed_ledger_is_refused_with_the_line_and_the_remedy(ledger: Ledger, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.locked():
        pass
    ledger.file.write_bytes(b"".join(altered(lines(ledger))))
    remedy = "restore the file, or give another output_dir"
    with pytest.raises(UserError, match=f"line 2: it was altered.*{remedy}"), run.locked():
        pass


def test_the_ledger_of_a_control_is_looked_at_too(tmp_path: Path) -> None:
    control = RunDirectory(tmp_path).control("alone")
    control.record("first")
    control.record("second")
    control.ledger_file.write_bytes(control.ledger_file.read_bytes().replace(b"first", b"third"))
    with pytest.raises(UserError, match=r"controls/alone/ledger.jsonl' is not as it was written: line 1"):
        RunDirectory(tmp_path).check_ledgers()


def test_a_ledger_without_a_chain_goes_on_and_its_chain_begins_there(tmp_path: Path) -> None:
    """As an earlier version wrote it; its last line is held by the first of the chain."""
    file = tmp_path / "ledger.jsonl"
    file.write_text("".join(json.dumps({"at": "2026", "event": f"old {number}"}) + "\n" for number in range(3)))
    assert Ledger(file).chain().unchained == 3
    Ledger(file).append("new", {})
    chain = Ledger(file).chain()
    assert (chain.lines, chain.unchained, chain.faults) == (4, 3, [])
    file.write_bytes(file.read_bytes().replace(b"old 2", b"old 5"))
    assert [line for line, _ in Ledger(file).chain().faults] == [4]


def test_a_line_cut_short_by_a_crash_is_healed_into_a_whole_chain(ledger: Ledger) -> None:
    with ledger.file.open("ab") as file:
        file.write(lines(ledger)[3][:60])
    assert ledger.chain().faults == []
    ledger.append("event", {"number": 4})
    assert [entry["number"] for entry in ledger.entries()] == [0, 1, 2, 3, 4]
    assert ledger.chain().faults == []
