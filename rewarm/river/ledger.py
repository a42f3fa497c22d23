"""The ledger of a run: one JSON line per event, only ever appended to, each chained by hash to the one before.

A line ends with two digests (SHA-256, hexadecimal): `before`, of the line before it, without its newline ("" for the
first line), and `own`, of the line itself as it was before `own` was put at its end. So a line that was altered, taken
out or put in is found. Lines that were taken off the end leave no trace in the lines that remain.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rewarm.types import UserError

_OWN = re.compile(rb', "own": "([0-9a-f]{64})"\}')
_OWN_BYTES = 76


@dataclass(frozen=True, slots=True)
class Chain:
    """What the chain of a ledger says: its lines, how many of them stand before the chain begins (an earlier version
    wrote them), and every fault with the number of its line, counted from 1."""

    lines: int
    unchained: int
    faults: list[tuple[int, str]]


class Ledger:
    """The events in `file`, which need not be there yet."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def entries(self) -> list[dict[str, Any]]:
        """Every event, oldest first; a line cut short by a crash is none. UserError for one that cannot be read."""
        return [self._entry(number, line) for number, line in enumerate(self._lines(), 1) if line]

    def append(self, event: str, facts: dict[str, Any]) -> None:
        """Appends one event with what is to be known of it, and flushes it to disk."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        held = self.file.read_bytes() if self.file.is_file() else b""
        if not held.endswith(b"\n"):  # a crash cut the last line short; what is appended must not continue it
            held = held[: held.rfind(b"\n") + 1]
            with self.file.open("ab") as cut:
                cut.truncate(len(held))
        last = held[:-1].rpartition(b"\n")[2]
        entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **facts}
        body = json.dumps({**entry, "before": _digest(last) if held else ""}).encode()
        with self.file.open("ab") as file:
            file.write(body[:-1] + f', "own": "{_digest(body)}"}}\n'.encode())
            file.flush()
            os.fsync(file.fileno())

    def chain(self) -> Chain:
        """Every line held against the one before it and against itself."""
        lines = self._lines()
        unchained = next((number for number, line in enumerate(lines) if _is_chained(line)), len(lines))
        faults = []
        for number, line in enumerate(lines[unchained:], unchained + 1):
            before = lines[number - 2] if number > 1 else None
            faults += [(number, fault) for fault in _faults(line, before)]
        return Chain(len(lines), unchained, faults)

    def _lines(self) -> list[bytes]:
        return self.file.read_bytes().split(b"\n")[:-1] if self.file.is_file() else []

    def _entry(self, number: int, line: bytes) -> dict[str, Any]:
        """The event of a line without what chains it."""
        found = _read(line)
        if found is None:
            raise UserError(f"'{self.file}', line {number} is no event. Restore the file, or give another output_dir")
        return {name: value for name, value in found.items() if name not in ("before", "own")}


def _read(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None when it is no event."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _is_chained(line: bytes) -> bool:
    return _OWN.fullmatch(line[-_OWN_BYTES:]) is not None


def _faults(line: bytes, before: bytes | None) -> list[str]:
    """What is wrong with one line of the chain."""
    own = _OWN.fullmatch(line[-_OWN_BYTES:])
    if own is None:
        return ["it is no line of the chain: it was altered, or put in by hand"]
    body = line[:-_OWN_BYTES] + b"}"
    found = ["it was altered: it no longer has its own digest"] if _digest(body).encode() != own[1] else []
    event = _read(body)
    if event is None:
        return [*found, "it is no event"]
    if event.get("before") != (_digest(before) if before is not None else ""):
        found.append("the line before it is not the one it was written after: lines were altered, taken out or put in")
    return found


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
