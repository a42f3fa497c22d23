"""What building probes will take, from the first facts of each snapshot; nothing is written."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rewarm.facts import Snapshot, Tally
from rewarm.facts.sorting import line_of

SAMPLE_SECONDS = 2.0
SECONDS_PER_FACT = 1.2e-5
"""Sorting, comparing and filtering a fact, a rough figure (docs/probes.md has a run); reading is measured each time."""
PACKED = 0.35
"""Bytes of a sorted fact on disk for each of its own."""
ROOM = 2.2
"""Runs are merged into larger ones while they still lie there, and what is compared lies beside them."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The forecast for one snapshot: bytes to read, facts, seconds, and bytes of disk used on the way."""

    bytes: int
    facts: int
    seconds: float
    disk: int
    whole: bool


def outlook(snapshot: Snapshot, tally: Tally) -> Outlook:
    """The forecast, from the facts of the first `SAMPLE_SECONDS`; it is exact in facts where these are all.

    `tally` counts what is read.
    """
    total = sum(file.stat().st_size for file in snapshot.files())
    facts = size = 0
    whole = True
    start = time.perf_counter()
    for fact in snapshot.sample(tally):
        facts += 1
        size += len(line_of(fact))
        if time.perf_counter() - start > SAMPLE_SECONDS:
            whole = False
            break
    seconds = time.perf_counter() - start
    times = 1.0 if whole else total / max(1, tally.bytes_read)
    expected = round(facts * times)
    taken = seconds * times * snapshot.passes + expected * SECONDS_PER_FACT
    return Outlook(total, expected, taken, round(size * times * PACKED * ROOM), whole)
