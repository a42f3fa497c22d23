"""Unfinished files, one for each period, that any number of rows in any order are written to in flat memory.

Rows wait by period until together they take `MEMORY` bytes; then the largest periods are packed, each as a frame that
is appended to its own file, so one file at a time is open. A note says how long each file was when every row up to some
number had been written: what a stop or a kill left behind it is cut off.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from rewarm.corpora.dated_rows import DatedRow
from rewarm.storage import read_json, write_json
from rewarm.types import BadRows

MEMORY = 64_000_000
LEVEL = 3
MOST_WAITS = 256
SUFFIX = ".jsonl.zst"
NOTE = "note.json"


@dataclass(slots=True)
class PeriodFiles:
    """The files in `folder`, with the rows that wait for them.

    `counts` are rows by period. `noted` rows were written by the last note, which keeps `about` as well; `whole` says
    that there were no more, and that the bad ones are those in `bad`.
    """

    folder: Path
    about: dict[str, Any]
    noted: int = 0
    whole: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    bad: BadRows = field(default_factory=BadRows)
    _sizes: dict[str, int] = field(default_factory=dict)
    _waiting: dict[str, list[bytes]] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)
    _bytes: int = 0
    _unsynced: set[str] = field(default_factory=set)
    # Making one costs as much as packing some hundred rows.
    _packer: zstandard.ZstdCompressor = field(default_factory=lambda: zstandard.ZstdCompressor(level=LEVEL))

    def __post_init__(self) -> None:
        """Goes on from the last note, if there is one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = read_json(self.folder / NOTE) or {
            "sizes": {},
            "counts": {},
            "noted": 0,
            "whole": False,
            "bad": [0, {}, {}],
        }
        self.noted, self.whole = note["noted"], note["whole"]
        self.counts, self._sizes = note["counts"], note["sizes"]
        self.bad.rows, counts, self.bad.examples = note["bad"]
        self.bad.counts.update(counts)
        for file in self.folder.glob(f"*{SUFFIX}"):
            size = self._sizes.get(file.name.removesuffix(SUFFIX), 0)
            if file.stat().st_size > size:
                os.truncate(file, size)

    def file(self, period: str) -> Path:
        """Where the rows of a period are."""
        return self.folder / f"{period}{SUFFIX}"

    def add(self, row: DatedRow) -> None:
        """Takes a row; writes the largest periods out when too much waits."""
        size = len(row.line) + 1
        self._waiting.setdefault(row.period, []).append(row.line)
        self._held[row.period] = self._held.get(row.period, 0) + size
        self._bytes += size
        self.counts[row.period] = self.counts.get(row.period, 0) + 1
        if self._bytes >= MEMORY:
            for period in sorted(self._held, key=lambda period: -self._held[period]):
                self._append(period)
                if self._bytes < MEMORY // 2:
                    break

    def note(self, rows: int, bad: BadRows, whole: bool = False) -> None:
        """Writes everything that waits, has it on the disk, and notes that the first `rows` rows are."""
        for period in [*self._held]:
            self._append(period)
        self._wait_for_the_disk()
        self.noted, self.bad, self.whole = rows, bad, whole
        value = {
            "about": self.about, "noted": rows, "whole": whole, "counts": self.counts, "sizes": self._sizes,
            "bad": [bad.rows, dict(bad.counts), bad.examples],
        }  # fmt: skip
        write_json(self.folder / NOTE, value)

    def _wait_for_the_disk(self) -> None:
        """One wait for everything costs less than thousands of waits of some milliseconds each."""
        if len(self._unsynced) > MOST_WAITS:
            os.sync()
            self._unsynced.clear()
        for period in self._unsynced:
            with self.file(period).open("rb") as file:
                os.fsync(file.fileno())
        self._unsynced.clear()

    def _append(self, period: str) -> None:
        packed = self._packer.compress(b"\n".join([*self._waiting.pop(period), b""]))
        with self.file(period).open("ab") as file:
            file.write(packed)
        self._bytes -= self._held.pop(period)
        self._sizes[period] = self._sizes.get(period, 0) + len(packed)
        self._unsynced.add(period)
