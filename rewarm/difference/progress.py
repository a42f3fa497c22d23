"""How far the reading of two snapshots is, in bytes of their files, and how long it will take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import psutil

from rewarm.corpora import paths
from rewarm.difference.editions import Edition
from rewarm.quantities import clock, size
from rewarm.types import Stopped, Tell

_LOOK_SECONDS = 0.5
STOPPED = "stopped; everything finished is kept. The same command goes on from there"


class BytesRead:
    """Bytes of the files of some snapshots that were read so far.

    Which file an article came from says which files are behind it; how far the system is in an open file says the
    rest, where the system tells (Linux does). So it holds for every kind of corpus.
    """

    def __init__(self, editions: Sequence[Edition]) -> None:
        self.editions = editions
        self._starts = [
            dict(zip(map(paths.printable, edition.files), accumulate(edition.sizes, initial=0), strict=False))
            for edition in editions
        ]
        self._sizes = [
            dict(zip(map(paths.printable, edition.files), edition.sizes, strict=True)) for edition in editions
        ]

    def now(self) -> int:
        """Bytes read up to now; a little more than what the articles given out stand in."""
        positions = {
            os.path.realpath(file.path): getattr(file, "position", 0) for file in psutil.Process().open_files()
        }
        return sum(self._of(number, positions) for number in range(len(self.editions)))

    def _of(self, number: int, positions: dict[str, int]) -> int:
        if self.editions[number].is_read:
            return self.editions[number].bytes
        place = self.editions[number].place
        starts = self._starts[number]
        is_whole = place in starts
        name = place if is_whole else place.rpartition(":")[0]
        if name not in starts:
            return 0
        held = self._sizes[number][name]
        return starts[name] + (held if is_whole else min(held, positions.get(os.path.realpath(Path(name)), 0)))


class Pace:
    """Tells how far one piece of work is, its rate and the time left by the rate measured since it began."""

    def __init__(self, label: str, total: float, tell: Tell, stop: Callable[[], bool], in_bytes: bool = True) -> None:
        self.label = label
        self.total = total
        self.tell = tell
        self.stop = stop
        self.in_bytes = in_bytes
        self._told = 0.0
        self._since: tuple[float, float] | None = None

    def begin(self, done: float) -> None:
        """Measures the rate from here on: what was only read again says nothing about it."""
        self._since = (time.monotonic(), done)

    def look(self, done: Callable[[], float]) -> None:
        """Tells how far it is, twice a second at most; Stopped when asked to stop."""
        if self.stop():
            raise Stopped(STOPPED)
        now = time.monotonic()
        if now - self._told < _LOOK_SECONDS:
            return
        self._told = now
        here = done()
        if self._since is None:
            self.begin(here)
            return
        started, first = self._since
        rate = (here - first) / max(1e-9, now - started)
        left = f", about {clock((self.total - here) / rate)} left" if rate > 0 and here < self.total else ""
        if self.in_bytes:
            self.tell(self.label, here / 1e6, self.total / 1e6, f"MB, {size(rate)}/s{left}")
        else:
            self.tell(self.label, here, self.total, f"buckets, {rate:.3g}/s{left}")
