"""Dated rows -> one file for each period, named by its date, as `stages: {each: FOLDER/*.zst, by: date}` reads them.

Linear time and flat memory for any number of rows and periods in any order. Files lie in FOLDER/unfinished until all
are whole; a stopped split goes on from the last note there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from rewarm.corpora import Corpus
from rewarm.corpora.dated_rows import Reading
from rewarm.corpora.dates import Period
from rewarm.corpora.faults import check_budget
from rewarm.corpora.period_files import LEVEL, NOTE, SUFFIX, PeriodFiles
from rewarm.storage import held, read_json, write_json
from rewarm.types import Stopped, UserError

NOTE_SECONDS = 30.0
SUMMARY = "split.json"
_LOOK_ROWS = 256
_SAMPLE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a split would take: bytes of the input, of which `share` was read; rows, dates and bad rows in that part;
    seconds and bytes of output of the whole, by what that part took."""

    bytes: int
    share: float
    rows: int
    periods: list[str]
    bad_rows: dict[str, int]
    seconds: float
    output: int


@dataclass(frozen=True, slots=True)
class Split:
    """A job: a corpus, the period and the field of its dates, where files go, and how many rows may be bad (a share).

    Files are called `<prefix>-<date>.jsonl.zst`, or by the date alone.
    """

    corpus: Corpus
    by: Period
    output: Path
    date_field: str = "date"
    prefix: str | None = None
    bad_rows: float = 0.001

    def reading(self) -> Reading:
        """The rows of the job, from the first on; UserError when there are none to be read."""
        return Reading(self.corpus, self.date_field, self.by)

    def finished(self) -> dict[str, Any] | None:
        """The summary when this very job is finished. UserError when the folder holds anything of another one."""
        summary, note = read_json(self.output / SUMMARY), read_json(self._work / NOTE)
        job = summary["job"] if summary else note["about"] if note else None
        if job is not None and job != self._described():
            raise UserError(
                f"'{self.output}' holds a split of other rows or with other options. Give another --output or delete it"
            )
        if job is None and self.output.is_dir() and (files := sorted(self.output.glob(f"*{SUFFIX}"))):
            raise UserError(f"'{files[0]}' is not from this command: give another --output, or delete it")
        return summary  # type: ignore[no-any-return]

    def run(self, reading: Reading, look: Callable[[], None]) -> dict[str, Any]:
        """Splits, or goes on with it; the summary: rows, bad rows by reason and place, and rows and bytes by file.

        `look` is called again and again; what it raises ends the job for now. UserError, with nothing published, when
        more than `bad_rows` of the rows have no readable date; StorageError when the disk is full.
        """
        with held(self.output, "What was noted before"):
            if (summary := self.finished()) is not None:
                return summary
            files = PeriodFiles(self._work, self._described())
            if not files.whole:
                _write(files, reading, look)
            if not files.bad.rows:
                raise UserError(f"no row in {', '.join(str(file) for file in reading.files[:3])}: nothing to split")
            check_budget(str(self.corpus.described().get("path", "rows")), files.bad, self.bad_rows)
            return self._publish(files)

    def outlook(self, seconds: float = 2.0) -> Outlook:
        """A forecast from splitting the first rows, for about `seconds`, in memory; nothing is written."""
        reading = self.reading()
        begun = time.perf_counter()
        lines: list[bytes] = []
        periods: dict[str, None] = {}
        size, ended = 0, True
        rows = reading.rows()  # kept, because with it the file is closed that says how far it was read
        for row in rows:
            lines.append(row.line)
            periods[row.period] = None
            size += len(row.line)
            if size > _SAMPLE_BYTES or time.perf_counter() - begun > seconds:
                ended = False
                break
        total = sum(reading.sizes)
        share = 1.0 if ended else min(1.0, max(1, reading.bytes_read()) / max(1, total))
        packed = len(zstandard.ZstdCompressor(level=LEVEL).compress(b"\n".join(lines)))
        spent = time.perf_counter() - begun
        bad = dict(reading.bad.counts)
        return Outlook(total, share, reading.bad.rows, sorted(periods), bad, spent / share, round(packed / share))

    @property
    def _work(self) -> Path:
        return self.output / "unfinished"

    def _described(self) -> dict[str, Any]:
        """What decides about the result: options, and the files with their sizes."""
        files = [[str(file), file.stat().st_size] for file in self.corpus.files()]
        return {
            "corpus": self.corpus.model_dump(mode="json"), "type": self.corpus.method_name(), "files": files,
            "by": self.by, "date_field": self.date_field, "prefix": self.prefix,
        }  # fmt: skip

    def _publish(self, files: PeriodFiles) -> dict[str, Any]:
        """Moves every file to its place. A kill between two of them is made good by the same command."""
        told = {}
        for period in sorted(files.counts):
            name = f"{self.prefix}-{period}{SUFFIX}" if self.prefix else f"{period}{SUFFIX}"
            if files.file(period).is_file():
                os.replace(files.file(period), self.output / name)
            told[name] = {"rows": files.counts[period], "bytes": (self.output / name).stat().st_size}
        summary = {
            "job": self._described(), "rows": files.bad.rows, "bad_rows": dict(files.bad.counts),
            "bad_examples": files.bad.examples, "files": told,
        }  # fmt: skip
        write_json(self.output / SUMMARY, summary)
        shutil.rmtree(self._work)
        return summary


def _write(files: PeriodFiles, reading: Reading, look: Callable[[], None]) -> None:
    """Writes every row that no note knows of. Those it knows are read again: only that brings a packed file to them."""
    number, noted_at = 0, time.monotonic()
    for number, row in enumerate(reading.rows(), 1):
        if number > files.noted:
            files.add(row)
        if number % _LOOK_ROWS:
            continue
        try:
            look()
        except Stopped:
            if number > files.noted:
                files.note(number, reading.bad)
            raise
        if time.monotonic() - noted_at > NOTE_SECONDS and number > files.noted:
            files.note(number, reading.bad)
            noted_at = time.monotonic()
    files.note(number, reading.bad, whole=True)
